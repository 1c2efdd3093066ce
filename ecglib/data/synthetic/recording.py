"""From electrodes to stored millivolts: noise at the electrodes, the amplifier, its filters, its converter."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import rfft  # of several leads at once it takes half to a fifth of the time of NumPy's

from ecglib.data.synthetic.body import ELECTRODES, twelve_leads
from ecglib.data.synthetic.noise import SHARED_HZ, NoiseSizes, electrode_noise
from ecglib.data.synthetic.recorders import MARGIN, interpolate, own_samples, response
from ecglib.signals import LEADS

PAD = 1.25  # a record is cut from the middle of a longer one, so that no filter wraps around its ends

# I, II, V1-V6 from nine electrodes; Wilson's terminal is the mean of the limbs.
_EIGHT = np.zeros((8, 9), np.float32)
_EIGHT[0, [0, 1]] = _EIGHT[1, [0, 2]] = -1, 1
_EIGHT[2:, :3] = -1 / 3
_EIGHT[np.arange(2, 8), np.arange(3, 9)] = 1
_OF_EIGHT = ("I", "II", *LEADS[6:])
_TWELVE_SQUARED = twelve_leads(_EIGHT) ** 2

STEEP_MV_PER_S = 15.0  # slopes above are QRS complexes
NOISY_MV = 0.018  # root mean square of muscle noise up to 50 Hz at which a reader calls a lead noisy (assumed)
MAINS_MV = 0.025  # amplitude of mains that is visible at 10 mm/mV (assumed: a quarter of a millimetre)
WANDER_MV = 0.06  # root mean square of wander that a reader remarks on: 2 mm from top to bottom (assumed)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What a reader would say of a tracing's quality. ``noisy``, ``flat``, ``saturated``: names of leads;
    ``mains``, ``wander``, ``moved``: visible or not; ``snr_db``: power of the heart over that of noise, median of the
    leads; ``swapped``: electrodes in each other's place ("RA/LA"), or ""; ``recorder``: make."""

    noisy: tuple[str, ...]
    flat: tuple[str, ...]
    saturated: tuple[str, ...]
    mains: bool
    wander: bool
    moved: bool
    snr_db: float
    swapped: str
    recorder: str

    @property
    def poor(self) -> bool:
        """Whether a reader would complain of the quality."""
        return len(self.noisy) >= 3 or bool(self.flat or self.saturated) or self.snr_db < 8


def swapped_electrodes(order: np.ndarray) -> str:
    """Names of the electrodes that ``order`` (9,) moves, as "RA/LA"; "" when each is in its place."""
    at = order.tolist()
    return "/".join([name for place, name in enumerate(ELECTRODES) if at[place] != place])


def record(clean, hz, n_out, rngs, ward, level, mains_hz, order, breath=None):
    """Electrode potentials (9, T) of the heart to a recording (12, n_out) float32 in mV, and its Disturbance.

    ``rngs``: generators for the settings and for noise below 50 Hz, and a seed for noise above, so that
    100 Hz and 500 Hz versions of a record carry the same noise. ``ward``: sizes of noise and recorders; ``level``
    scales all noise; ``order`` (9,): where each electrode was put; ``breath``: rate in Hz of the patient's breathing
    and its phase in turns where the recording begins, None for any.
    """
    rng, low, high = rngs
    sizes = ward.sizes
    u = rng.random(8).tolist()
    recorder = ward.recorder(u[0])
    total = clean.shape[1]
    if breath is not None:
        breath = breath[0], breath[1] - breath[0] * ((total - n_out) // 2) / hz
    noise = electrode_noise(rng, low, high, total, hz, sizes, level, mains_hz, breath)
    raw = noise.fast_mv
    raw += clean
    spectrum = rfft(_EIGHT @ raw)
    if (sizes.jitter_ms or sizes.storage_uv) and hz >= 2 * SHARED_HZ + 1:
        above = int(SHARED_HZ * total / hz) + 1  # slower copies of the record cannot carry it
        spectrum[:, above:] += rfft(_EIGHT @ storage_error(clean, high, hz, sizes))[:, above:]
    slow = noise.slow.shape[1]
    spectrum[:, :slow] += (_EIGHT @ noise.slow.view(np.float32)).view(np.complex64)
    left = 1.0 if recorder.mains == "notch" else recorder.mains_left
    for k, (at, line) in enumerate(noise.lines):
        spectrum[:, at : at + 5] += _EIGHT @ (line if k else line * np.float32(left))
    high_pass = recorder.high_pass_hz[int(u[1] * len(recorder.high_pass_hz))]
    low_pass = recorder.low_pass_hz[int(u[2] * len(recorder.low_pass_hz))]
    spectrum *= response(recorder, high_pass, low_pass, mains_hz, total, hz)
    gain = 1 + 0.01 * rng.standard_normal(8, dtype=np.float32)
    gain[1] = gain[0]
    parts = spectrum.view(np.float32)
    parts *= gain[:, None]
    eight = _sampled(spectrum, recorder.sampling_hz, hz, total, n_out)
    n_own = np.float32(eight.shape[1])
    power = _middle((np.vecdot(eight, eight) / n_own - np.square(eight.sum(axis=1) / n_own)).tolist())
    limit = 1.5 + 2.5 * u[4] if u[3] < sizes.rail else recorder.rail_mv
    largest, smallest = eight.max(axis=1), eight.min(axis=1)
    saturated = (largest > limit) | (smallest < -limit)
    if saturated.any():
        np.clip(eight, -limit, limit, out=eight)
    flat = ()
    if u[5] < sizes.flat:  # the cable of a chest electrode came off
        lead = 2 + int(u[6] * 6)
        eight[lead] = 0
        flat = (LEADS[lead + 4],)
    steps = eight / np.float32(recorder.lsb_mv)
    np.rint(steps, out=steps)
    if hz > recorder.sampling_hz:
        steps = interpolate(steps, recorder.sampling_hz, hz, n_out)
    if recorder.stored_mv != recorder.lsb_mv:
        steps *= np.float32(recorder.lsb_mv / recorder.stored_mv)
        np.rint(steps, out=steps)
    ecg = twelve_leads(steps)
    ecg *= np.float32(recorder.stored_mv)
    left = recorder.mains_left if recorder.mains != "none" else 1.0
    return ecg, _disturbance(noise, recorder, power, left, flat, saturated, order)


def storage_error(clean, high, hz: float, sizes: NoiseSizes) -> np.ndarray:
    """What storing adds to steep waves of ``clean`` (9, T), mostly above 50 Hz; ``high`` is the seed of noise there.

    Two parts: samples at uncertain times (slope times error), and an error of fixed size wherever the wave is steep,
    as a compression with a tolerance leaves it.
    """
    rng = np.random.default_rng([high.entropy[2], *high.spawn_key])
    error = rng.standard_normal((2, clean.shape[1]), dtype=np.float32)
    size = np.exp(sizes.jitter_sd * error[0, 0])
    # Errors of time are alike within 10 ms: the slope of real spectra between 60 and 130 Hz.
    box = np.full(max(round(0.006 * hz), 1), 1 / max(round(0.006 * hz), 1), np.float32)
    late = np.convolve(np.convolve(error[0], box, "same"), box, "same") * np.float32(1e-3 * sizes.jitter_ms * size)
    slope = np.zeros_like(clean)
    np.subtract(clean[:, 2:], clean[:, :-2], out=slope[:, 1:-1])
    slope *= np.float32(0.5 * hz)  # mV/s
    steep = np.abs(slope)
    steep /= steep + np.float32(STEEP_MV_PER_S)
    slope *= late
    slope += np.float32(1e-3 * sizes.storage_uv * size) * steep * error[1]
    slope *= steep
    return slope


def _sampled(spectrum, own_hz, hz, total, n_out):
    """The record in time: at the recorder's own rate, with a margin for interpolation, if that is below ``hz``."""
    begin = (total - n_out) // 2
    if own_hz >= hz:
        return np.fft.irfft(spectrum, total)[:, begin : begin + n_out]
    own = 2 * round(total * own_hz / hz / 2)
    shift = begin * own / total - MARGIN
    first = int(shift)
    if shift - first > 1e-6:  # a record begins with an own sample, wherever the padding ends
        turn = np.exp(2j * np.pi * np.arange(own // 2 + 1) * (shift - first) / own)
        spectrum = spectrum[:, : own // 2 + 1] * turn.astype(np.complex64)
    wanted = own_samples(own_hz, hz, n_out)
    return np.fft.irfft(spectrum, own)[:, first : first + wanted] * np.float32(own / total)


def _middle(values) -> float:
    """Median of a few numbers; ``np.median`` takes as long as an FFT of a record does."""
    ordered = sorted(values)
    return 0.5 * (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2])


def _disturbance(noise, recorder, power, mains_left, flat, saturated, order):
    squares = np.array([noise.muscle_mv**2, noise.wander_mv**2, (mains_left * noise.mains_mv) ** 2])
    muscle, wander, mains = (_TWELVE_SQUARED @ squares.T).T.tolist()
    noisy = tuple([lead for lead, size in zip(LEADS, muscle, strict=True) if size > NOISY_MV**2])
    unwanted, drift = _middle(muscle) + 1e-9, _middle(wander)
    snr_db = 10 * math.log10(max(power - unwanted - drift, 0.05 * power, 1e-9) / unwanted)
    clipped = tuple([lead for lead, over in zip(_OF_EIGHT, saturated.tolist(), strict=True) if over])
    return Disturbance(
        noisy,
        flat,
        clipped,
        _middle(mains) > MAINS_MV**2,
        drift > WANDER_MV**2,
        noise.moved,
        snr_db,
        swapped_electrodes(order),
        recorder.name,
    )
