"""Fit sizes of noise and shares of recorders to a folder of unlabelled recordings.

    python -m ecglib.calibration.noise_fit FOLDER [--cohort ptb-xl] [--out ecglib/data/synthetic/noise.toml]

Indirect inference (Gourieroux, Monfort, Renault 1993): simulated hearts are recorded with a trial ward, measured as
the real records are, and every size moves until the quantiles agree. Only signal files are read: no table, no label,
no comment of a header.
"""

import argparse
import copy
import hashlib
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np

from ecglib.calibration import seen
from ecglib.calibration.measures import BANDS_HZ, NoiseMeasures, measure_noise
from ecglib.data.synthetic import noise
from ecglib.data.synthetic.cohorts import cohort_named
from ecglib.data.synthetic.generate import simulate_heart
from ecglib.data.synthetic.noise import Ward
from ecglib.data.synthetic.recording import record
from ecglib.errors import DataError
from ecglib.paths import atomic_write
from ecglib.signals import LEADS

HZ, SECONDS, SEED = round(seen.HZ), 10.0, 20000
HEARTS, ROUNDS = 160, 8
DAMPING = 0.8
_MUSCLE = [BANDS_HZ.index(b) for b in ((62, 90), (90, 130), (152, 180))]
_SKIN = [BANDS_HZ.index((35, 47))]
_FLOOR = [BANDS_HZ.index((180, 210))]


def read_signals(folder: Path) -> tuple[np.ndarray, str]:
    """(N, 12, 5000) float32 mV of every `seen.recordings` below ``folder`` that is whole, and their fingerprint.

    DataError when there are fewer than five.
    """
    samples, out, digest = round(HZ * SECONDS), [], hashlib.sha256()
    for ecg_mv, _ in seen.recordings(folder):
        ecg = np.ascontiguousarray(ecg_mv[:, :samples])
        if ecg.shape == (len(LEADS), samples) and np.isfinite(ecg).all() and np.ptp(ecg, axis=1).min() > 0:
            out.append(ecg)
            digest.update(ecg.tobytes())
    if len(out) < 5:
        raise DataError(f"{folder} holds {len(out)} usable 12-lead WFDB records of {HZ} Hz and {SECONDS:g} s; 5 needed")
    return np.stack(out), digest.hexdigest()[:16]


def simulated_hearts(cohort: str, n: int) -> list:
    """Hearts to record again and again while a ward is fitted."""
    return [simulate_heart(cohort, SEED, i, HZ, SECONDS) for i in range(n)]


def recorded(hearts: list, ward: Ward) -> tuple[np.ndarray, list[str]]:
    """(N, 12, T) recordings in a ward, and the make of recorder of each."""
    out, makes = [], []
    for heart in hearts:
        rngs, case, order = copy.deepcopy(heart.noise_rngs), heart.case, heart.body.order
        breath = (case.resp_hz, case.resp_phase)
        ecg, disturbance = record(
            heart.clean_mv, HZ, round(HZ * SECONDS), rngs, ward, heart.level, heart.mains_hz, order, breath
        )
        out.append(ecg)
        makes.append(disturbance.recorder)
    return np.stack(out), makes


def fit(real: NoiseMeasures, hearts: list, ward: Ward, rounds: int = ROUNDS, shares: bool = True) -> Ward:
    """The ward whose recordings measure like ``real``; deterministic. ``shares``: fit those of recorders too."""
    for k in range(rounds):
        if shares and k in (rounds // 2, rounds - 3):
            ward = fit_shares(real, hearts, ward)
        simulated = measure_noise(recorded(hearts, ward)[0], HZ, hearts[0].mains_hz)
        ward = replace(ward, sizes=_moved(ward.sizes, real, simulated))
    return ward


def fit_shares(real: NoiseMeasures, hearts: list, ward: Ward) -> Ward:
    """Shares of the makes that ``ward`` names: mixture of their feature densities, by expectation-maximisation."""
    names, density = list(ward.shares), []
    x = real.features()
    for name in names:
        alone = replace(ward, shares={name: 1.0})
        y = measure_noise(recorded(hearts[: len(hearts) // 2], alone)[0], HZ, hearts[0].mains_hz).features()
        width = 1.2 * y.std(0) * len(y) ** -0.2 + 0.03
        kernel = np.exp(-0.5 * ((x[:, None] - y[None]) / width) ** 2) / width
        density.append((np.log(kernel.mean(1) + 1e-4)).sum(1))
    density = np.stack(density, axis=1)
    likelihood = np.exp(0.5 * (density - density.max(1, keepdims=True)))  # features are not independent: half weight
    share = np.full(len(names), 1 / len(names))
    for _ in range(200):
        belief = likelihood * share
        share = (belief / belief.sum(1, keepdims=True)).mean(0)
    share = np.round(np.maximum(share, 0.01) / np.maximum(share, 0.01).sum(), 3)
    share[share.argmax()] += 1 - share.sum()
    return replace(ward, shares=dict(zip(names, share.tolist(), strict=True)))


def _moved(s, real, simulated):
    """Sizes one step nearer to the real quantiles."""

    def off(name, leads, bands=None, q=50):
        """How far a median over records lies above the simulated one, in log10 power."""
        a, b = (getattr(m, name)[:, leads] for m in (real, simulated))
        a, b = (x if bands is None else x[..., bands] for x in (a, b))
        axes = tuple(range(1, a.ndim))
        return float(np.percentile(a.mean(axes), q) - np.percentile(b.mean(axes), q))

    def spread(name, bands=None, leads=slice(None)):
        """Ratios real to simulated of the spread over records, and within records."""
        a, b = (
            getattr(m, name)[:, leads] if bands is None else getattr(m, name)[:, leads][..., bands].mean(-1)
            for m in (real, simulated)
        )
        over = [np.diff(np.percentile(x.mean(1), (16, 84)))[0] for x in (a, b)]
        within = [np.median(x.std(1)) for x in (a, b)]
        return [float(np.clip((x / max(y, 1e-6)) ** DAMPING, 0.6, 1.6)) for x, y in (over, within)]

    every, limb, chest = slice(None), slice(0, 2), slice(2, None)
    power = [10 ** (DAMPING * off("quiet", lead, _MUSCLE)) for lead in (slice(0, 1), slice(1, 2), chest)]
    arm, leg, v = (s.muscle_uv * np.array([s.muscle_arm, s.muscle_leg, 1.0])) ** 2
    # I sees both arms, II one arm and the leg, a chest lead itself and a ninth of each limb.
    new_arm = power[0] * arm
    new_leg = max(power[1] * (arm + leg) - new_arm, 0.03 * new_arm)
    new_v = max(power[2] * (v + (2 * arm + leg) / 9) - (2 * new_arm + new_leg) / 9, 0.01 * new_arm)
    muscle_sd, muscle_electrode_sd = spread("quiet", _MUSCLE)
    wander_sd, wander_electrode_sd = spread("wander")
    wander = [10 ** (0.5 * DAMPING * off("wander", leads)) for leads in (limb, chest)]
    louder = [np.median((m.loud - m.quiet)[:, 0, _MUSCLE]) for m in (real, simulated)]

    arm_lead = slice(0, 1)
    first, second, far = (off("quiet", arm_lead, [b]) for b in (_MUSCLE[0], _MUSCLE[1], _FLOOR[0]))
    jitter_sd, _ = spread("loud", _MUSCLE, chest)

    def line(k, q):
        a, b = (np.percentile(m.lines[:, :2, k].mean(1), q) for m in (real, simulated))
        return a - b

    chest_3, limb_3 = (
        np.diff([np.percentile(m.lines[:, x, 2].mean(1), 84) for m in (simulated, real)])[0] for x in (chest, limb)
    )
    line_3 = [np.diff(np.percentile(m.lines[:, :2, 2].mean(1), (16, 84)))[0] for m in (real, simulated)]
    moved = {
        "muscle_uv": np.sqrt(new_v),
        "muscle_arm": np.sqrt(new_arm / new_v),
        "muscle_leg": np.sqrt(new_leg / new_v),
        "muscle_sd": np.clip(s.muscle_sd * muscle_sd, 0.05, 2),
        "muscle_electrode_sd": np.clip(s.muscle_electrode_sd * muscle_electrode_sd, 0.05, 0.8),
        "muscle_mood": np.clip(s.muscle_mood + 0.25 * (louder[0] - louder[1]), 0.05, 1.0),
        "muscle_corner_hz": np.clip(s.muscle_corner_hz * 10 ** (0.5 * (second - first)), 30, 300),
        "muscle_floor": np.clip(s.muscle_floor * 10 ** (DAMPING * (far - second)), 1e-4, 1),
        "jitter_sd": np.clip(s.jitter_sd * jitter_sd, 0.05, 0.8),
        "jitter_ms": np.clip(s.jitter_ms * 10 ** (0.4 * off("whole", chest, _MUSCLE[:2])), 0.01, 2.0),
        "storage_uv": np.clip(s.storage_uv * 10 ** (0.4 * off("whole", chest, _FLOOR)), 0.1, 60),
        "skin_uv": np.clip(s.skin_uv * 10 ** (0.4 * off("quiet", every, _SKIN)), 0.3, 30),
        "amplifier_uv": np.clip(s.amplifier_uv * 10 ** (0.4 * off("quiet", chest, _FLOOR)), 0.01, 2),
        "wander_uv": s.wander_uv * wander[0],
        "breath_uv": s.breath_uv * wander[0],
        "wander_chest": np.clip(s.wander_chest * wander[1] / wander[0], 0.3, 5),
        "wander_sd": np.clip(s.wander_sd * wander_sd, 0.05, 1.5),
        "wander_electrode_sd": np.clip(s.wander_electrode_sd * wander_electrode_sd, 0.05, 1.5),
        "mains_uv": np.clip(s.mains_uv * 10 ** (0.4 * line(0, 84)), 0.05, 100),
        "mains_2": np.clip(s.mains_2 * 10 ** (0.4 * (line(1, 84) - line(0, 84))), 0.003, 3),
        "mains_3": np.clip(s.mains_3 * 10 ** (0.5 * (line(2, 50) - line(0, 84))), 0.003, 3),
        "mains_chest": np.clip(s.mains_chest * 10 ** (0.4 * (chest_3 - limb_3)), 0.02, 5),
        "mains_sd": np.clip(s.mains_sd * np.clip(line_3[0] / max(line_3[1], 1e-6), 0.7, 1.4), 0.1, 1.5),
    }
    return replace(s, **{name: float(value) for name, value in moved.items()})


HEAD = """\
# Sizes of noise (NoiseSizes in noise.py) and shares of recorders (recorders.toml), by cohort. Fits are named below; in
# ptb-xl's these were set by hand afterwards, to what the same unlabelled signals show where the fit cannot look, how
# alike the noise of two leads is. Between beats above 52 Hz V1 and V6 correlate by 0.06, neighbours by 0.1 to 0.3, I
# and II by 0.65, so that muscle noise is each chest electrode's own, and the mean of the limbs sees little of it. Below
# 0.5 Hz II has 1.6 times the wander of I (wander_leg, wander_sd, wander_chest). What a QRS has from 52 to 62 Hz comes
# back in every beat (90 % of its power); of what it has from 100 to 150 Hz half does, the rest are errors of time
# (jitter_ms). The sizes named in ecglib/calibration/matched.py were then matched, with those of population.toml.
# A new fit replaces what was set by hand and matched.
"""


def table_text(wards: dict[str, Ward], notes: dict[str, str]) -> str:
    """noise.toml: one table a cohort, each with the note on where its numbers come from."""
    lines = [HEAD.rstrip()]
    for cohort, ward in wards.items():
        lines += ["", f"# {cohort}: {notes[cohort]}", f"[{cohort}.noise]"]
        lines += [f"{name} = {float(f'{value:.4g}')}" for name, value in asdict(ward.sizes).items()]
        lines += ["", f"[{cohort}.recorders]", *(f"{name} = {share}" for name, share in ward.shares.items())]
    return "\n".join(lines) + "\n"


def notes_of(path: Path) -> dict[str, str]:
    """Cohort -> its note in a file that ``table_text`` wrote."""
    found = (line[2:].split(": ", 1) for line in path.read_text(encoding="utf-8").splitlines() if line[:2] == "# ")
    return {parts[0]: parts[1] for parts in found if len(parts) == 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cohort", default="ptb-xl")
    parser.add_argument("--out", type=Path, default=noise.TABLE)
    parser.add_argument("--source", default="", help="words for the note in the file, such as the data set's name")
    parser.add_argument("--hearts", type=int, default=HEARTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    mains_hz = cohort_named(args.cohort).mains_hz[0]
    signals, fingerprint = read_signals(args.folder)
    table = dict(noise.wards())
    notes = dict.fromkeys(table, "assumed") | notes_of(noise.TABLE)
    ward = fit(
        measure_noise(signals, HZ, mains_hz),
        simulated_hearts(args.cohort, args.hearts),
        table[args.cohort],
        args.rounds,
    )
    table[args.cohort] = ward
    notes[args.cohort] = (
        f"fitted {date.today().isoformat()} to {len(signals)} unlabelled signals"
        f"{' of ' + args.source if args.source else ''}, fingerprint {fingerprint}"
    )
    atomic_write(args.out, table_text(table, notes))
    print(f"{args.cohort}: {len(signals)} signals, fingerprint {fingerprint}; {args.out.name} written")


if __name__ == "__main__":
    main()
