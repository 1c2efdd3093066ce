"""The recording chain: filters, converter and mains do what their row says, and a tracing says what disturbs it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.data.synthetic import COHORTS, simulate_tracing
from ecglib.data.synthetic.noise import Ward, ward_of, wards
from ecglib.data.synthetic.recorders import interpolate, own_samples, recorders, response
from ecglib.data.synthetic.recording import record, swapped_electrodes
from ecglib.errors import ParameterError

SIZES = "wander_uv breath_uv skin_uv muscle_uv amplifier_uv mains_uv jitter_ms storage_uv"
SILENT = dict.fromkeys([*SIZES.split(), "burst", "step", "tremor", "flat", "rail"], 0.0)
IN_PLACE = np.arange(9)


def recorded(clean, hz, ward, seed=0, order=IN_PLACE, mains_hz=50.0, level=1.0):
    """``record`` of electrode potentials (9, T), of which the middle four fifths are kept."""
    *rngs, high = np.random.SeedSequence([seed, 1, 2, 3]).spawn(3)
    rngs = (*map(np.random.default_rng, rngs), high)
    n = round(clean.shape[1] / 1.25)
    return record(clean.astype(np.float32), hz, n, rngs, ward, level, mains_hz, order)


def ward(make, **sizes):
    """A ward with one make of recorder and no noise but the sizes given."""
    return Ward(replace(ward_of("ptb-xl").sizes, **{**SILENT, **sizes}), {make: 1.0})


def sine(frequency_hz, hz=500, seconds=12.5, size_mv=1.0):
    """A sine at the left arm: lead I shows it whole."""
    clean = np.zeros((9, round(hz * seconds)))
    clean[1] = size_mv * np.sin(2 * np.pi * frequency_hz * np.arange(clean.shape[1]) / hz)
    return clean


@pytest.mark.parametrize("name", sorted(recorders()))
def test_the_corners_of_a_recorder_are_where_its_row_says(name):
    recorder = recorders()[name]
    hz, samples = 2000.0, 200_000
    for low in recorder.low_pass_hz:
        h = np.abs(response(recorder, min(recorder.high_pass_hz), low, 77.7, samples, hz))
        at = np.fft.rfftfreq(samples, 1 / hz)
        expected = 2**-0.5 / np.sqrt(1 + (low / recorder.anti_alias_hz) ** 12)
        assert abs(np.interp(low, at, h) - expected) < 0.01
    for high in recorder.high_pass_hz:
        h = np.abs(response(recorder, high, max(recorder.low_pass_hz), 77.7, samples, hz))
        assert abs(np.interp(high, at, h) - 2**-0.5) < 0.02
        assert h[0] == 0


def test_a_filter_measured_in_a_recording():
    """1 mV at the -3 dB point of the 40 Hz row comes out as 0.71 mV, in the pass band as 1 mV."""
    make = ward("cart-40-hz")
    for frequency_hz, size_mv in ((40.0, 0.707), (10.0, 1.0)):
        ecg, _ = recorded(sine(frequency_hz), 500, make)
        assert abs(np.sqrt(2) * ecg[0].std() / size_mv - 1) < 0.04


def test_depth_of_the_notch_and_what_adaptive_removal_leaves():
    notched, _ = recorded(sine(50.0), 500, ward("cart-100-hz"))
    assert 0.01 < np.sqrt(2) * notched[0].std() < 0.05  # its row leaves 3 %
    mains = {"mains_uv": 500.0, "mains_sd": 0.0, "mains_2": 0.0, "mains_3": 0.0}
    left = [
        recorded(sine(1.0, size_mv=0), 500, ward(m, **mains))[0].std() for m in ("fine-converter", "cart-diagnostic")
    ]
    assert left[1] == pytest.approx(0.05 * left[0], rel=0.25)  # its row leaves 5 %


@pytest.mark.parametrize("name", sorted(recorders()))
def test_steps_of_converter_and_file(name):
    recorder = recorders()[name]
    ecg, found = recorded(sine(3.0) + 0.3 * sine(0.7), 500, ward(name))
    assert found.recorder == name
    eight = ecg[[0, 1, *range(6, 12)]].astype(np.float64)
    assert np.abs(eight / recorder.stored_mv - np.rint(eight / recorder.stored_mv)).max() < 0.02
    own = eight[:, :: 5 if recorder.sampling_hz == 400 else 1]  # every fifth sample at 500 Hz is one of 400 Hz
    off = np.abs(own - recorder.lsb_mv * np.rint(own / recorder.lsb_mv)).max()
    assert off <= 0.51 * recorder.stored_mv + 1e-5


def test_einthoven_and_goldberger_hold_after_rounding():
    for index in range(12):
        ecg = simulate_tracing("ptb-xl", 3, index, 500, 10.0).ecg_mv.astype(np.float64)
        i, ii, iii, avr, avl, avf = ecg[:6]
        for derived, rule in ((iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)):
            np.testing.assert_allclose(derived, rule, atol=2e-6)


def test_interpolation_keeps_own_samples_and_slow_sines():
    n = 5000
    t = (np.arange(own_samples(400, 500, n)) - 3) / 400
    own = np.sin(2 * np.pi * np.array([[3.0], [40.0]]) * t).astype(np.float32)
    out = interpolate(own, 400, 500, n)
    assert out.shape == (2, n)
    np.testing.assert_allclose(out[:, ::5], own[:, 3::4][:, : n // 5], atol=1e-6)
    expected = np.sin(2 * np.pi * np.array([[3.0], [40.0]]) * np.arange(n) / 500)
    assert np.abs(out - expected).max() < 0.02


def test_100_hz_and_500_hz_carry_the_same_noise_below_50_hz():
    """Below 40 Hz they differ by the converter's rounding and by muscle noise that its envelope carries over 50 Hz."""
    for cohort in COHORTS:
        for seed in range(6):
            (slow, a), (fast, b) = (recorded(sine(1.0, hz), hz, ward_of(cohort), seed) for hz in (100, 500))
            low, high = (np.fft.rfft(x)[:, :400] / x.shape[1] for x in (slow, fast))
            difference = np.sqrt(2 * (np.abs(low - high) ** 2).sum(1)).max()
            noise = np.sqrt(2 * np.delete(np.abs(high) ** 2, 10, axis=1).sum(1)).max()
            assert difference < 0.003 + 0.1 * noise, (cohort, seed)
            for name in ("noisy", "flat", "saturated", "mains", "wander", "moved", "swapped", "recorder"):
                assert getattr(a, name) == getattr(b, name)


def test_swapped_electrodes_are_named():
    order = np.arange(9)
    order[[0, 1]] = 1, 0
    assert swapped_electrodes(order) == "RA/LA"
    assert swapped_electrodes(np.arange(9)) == ""
    seen = set()
    for index in range(1500):
        x = simulate_tracing("mimic-iv-ecg", 21, index, 50, 2.0)
        assert x.disturbance.swapped == swapped_electrodes(x.body.order)
        seen.add(x.disturbance.swapped)
    assert "" in seen
    assert len(seen) > 2


def test_what_disturbs_a_tracing_is_said():
    heart = sine(1.0)
    _, calm = recorded(heart, 500, ward("fine-converter"))
    assert not any((calm.noisy, calm.flat, calm.saturated, calm.mains, calm.wander, calm.poor))
    still = {"muscle_sd": 0.0, "muscle_electrode_sd": 0.0, "muscle_mood": 0.0}
    _, tense = recorded(heart, 500, ward("fine-converter", muscle_uv=12.0, **still))
    assert {"I", "II"} <= set(tense.noisy)
    assert tense.snr_db < calm.snr_db
    assert tense.poor
    assert recorded(heart, 500, ward("fine-converter", mains_uv=200.0, mains_sd=0.0))[1].mains
    assert recorded(heart, 500, ward("fine-converter", wander_uv=400.0, wander_sd=0.0))[1].wander
    ecg, off = recorded(heart, 500, ward("fine-converter", flat=1.0))
    assert len(off.flat) == 1
    assert [
        name for name, lead in zip(("V1", "V2", "V3", "V4", "V5", "V6"), ecg[6:], strict=True) if not lead.any()
    ] == [*off.flat]
    ecg, clipped = recorded(9 * heart, 500, ward("fine-converter", rail=1.0))
    assert "I" in clipped.saturated
    assert np.abs(ecg[0]).max() <= 4.001


@pytest.mark.parametrize("cohort", COHORTS)
def test_a_cohort_meets_its_recorders_as_often_as_its_table_says(cohort):
    shares = ward_of(cohort).shares
    makes = [simulate_tracing(cohort, 4, i, 50, 2.0).disturbance.recorder for i in range(400)]
    for name, share in shares.items():
        assert abs(makes.count(name) / 400 - share) < 0.09


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(COHORTS)),
    st.integers(0, 2**31),
    st.sampled_from([50, 100, 250, 360, 500, 1000]),
    st.sampled_from([2.0, 5.0, 10.0]),
    st.floats(0, 8),
)
def test_any_recording_is_finite_bounded_and_repeatable(cohort, seed, hz, seconds, level):
    clean = 3 * np.random.default_rng(seed).standard_normal((9, 2 * round(seconds * 1.25 * hz / 2)))
    (ecg, found), (again, _) = (recorded(clean, hz, ward_of(cohort), seed, level=level) for _ in range(2))
    assert ecg.dtype == np.float32
    assert ecg.shape == (12, round(clean.shape[1] / 1.25))
    assert np.isfinite(ecg).all()
    assert np.abs(ecg).max() < 2.5 * recorders()[found.recorder].rail_mv
    assert ecg.tobytes() == again.tobytes()
    assert np.isfinite(found.snr_db)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('phase = "causal"', 'phase = "forwards"', "forwards"),
        ("lsb_mv = 0.005", "lsb_mv = -1", "lsb_mv is -1"),
        ("rail_mv = 10.0\n", "", "lacks rail_mv"),
        ("rail_mv = 10.0\n", "rail_mv = 10.0\ncolour = 1\n", "colour"),
        ("[[recorder]]", "[recorder", "not valid TOML"),
    ],
)
def test_a_broken_table_of_recorders_is_refused(tmp_path, old, new, message):
    from ecglib.data.synthetic.recorders import TABLE

    path = tmp_path / "recorders.toml"
    path.write_text(TABLE.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ParameterError, match=message):
        recorders(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("burst = ", "bursts = ", "bursts"),
        ("flat = ", "flat = -", "flat"),
        ("cart-diagnostic = ", "cart-of-1890 = ", "cart-of-1890"),
        ("cart-diagnostic = ", "cart-diagnostic = 1", "add up"),
    ],
)
def test_a_broken_table_of_noise_is_refused(tmp_path, old, new, message):
    from ecglib.data.synthetic.noise import TABLE

    path = tmp_path / "noise.toml"
    path.write_text(TABLE.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ParameterError, match=message):
        wards(path)
    with pytest.raises(ParameterError, match="no cohort 'mars'"):
        ward_of("mars")
