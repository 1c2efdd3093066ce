"""Leads by name, units, resampling, length, missing samples, quality, int16."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib import signals
from ecglib.errors import SignalError
from ecglib.signals import LEADS

MIMIC_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def twelve(i: np.ndarray, ii: np.ndarray, chest: np.ndarray) -> np.ndarray:
    """Twelve consistent leads from I, II (T,) and six chest leads (6, T)."""
    return np.vstack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, chest]).astype(np.float32)


@pytest.fixture
def ecg() -> np.ndarray:
    rng = np.random.default_rng(1)
    return twelve(rng.normal(size=1000), rng.normal(size=1000), rng.normal(size=(6, 1000)))


# leads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "lead"), [("AVR", "aVR"), (" v3 ", "V3"), ("ii", "II"), ("aVf", "aVF")])
def test_case_and_blanks_of_a_lead_name_do_not_matter(name, lead):
    assert signals.canonical_lead(name) == lead


@pytest.mark.parametrize("name", ["V7", "", "aVX", "1", "MLII"])
def test_an_unknown_lead_is_named(name):
    with pytest.raises(SignalError, match="unknown lead"):
        signals.canonical_lead(name)


def test_leads_are_parsed_from_text_and_sequence():
    assert signals.parse_leads("all") == LEADS
    assert signals.parse_leads("V5, ii") == ("V5", "II")
    assert signals.parse_leads(["AVL"]) == ("aVL",)
    assert signals.lead_indices("I,V6") == [0, 11]
    for bad in ("", "I,I", "I;II", []):
        with pytest.raises(SignalError):
            signals.parse_leads(bad)


@given(st.permutations(LEADS), st.booleans())
def test_permuted_leads_come_back_in_order(order, shout):
    rows = np.arange(12)[:, None] * np.ones((1, 5))
    shuffled = rows[[LEADS.index(lead) for lead in order]]
    names = [name.upper() for name in order] if shout else list(order)
    np.testing.assert_array_equal(signals.order_leads(shuffled, names), rows)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (LEADS[:-1], "11 lead names for 12 rows"),
        ((*LEADS[:-1], "V5"), "V5 given twice"),
        ((*LEADS[:-1], "V9"), "unknown lead 'V9'"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    with pytest.raises(SignalError, match=message):
        signals.order_leads(np.zeros((12, 3)), names)


def test_a_missing_lead_is_named():
    with pytest.raises(SignalError, match="lead V2, V4 missing"):
        signals.order_leads(np.zeros((10, 3)), [lead for lead in LEADS if lead not in ("V2", "V4")])


# units, rates, length ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "mv"), [("mV", 2.0), ("uV", 2e-3), ("µV", 2e-3), ("V", 2e3), ("nV", 2e-6)])
def test_units(unit, mv):
    assert signals.to_millivolt(np.array([2.0]), unit)[0] == pytest.approx(mv)


@pytest.mark.parametrize("unit", ["mmHg", "", "adu"])
def test_an_unknown_unit_is_refused(unit):
    with pytest.raises(SignalError, match="unknown unit"):
        signals.to_millivolt(np.zeros(1), unit)


@given(st.sampled_from([100, 125, 250, 257, 400, 500, 1000]), st.sampled_from([100, 250, 500]), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_a_slow_sine_survives_any_change_of_rate(from_hz, to_hz, hz10):
    """A sine of at most 20 Hz is the same function of time at every rate, away from the ends."""
    hz = hz10 if hz10 < 20 else 19
    t_from, t_to = np.arange(4 * from_hz) / from_hz, np.arange(4 * to_hz) / to_hz
    out = signals.resample(np.sin(2 * np.pi * hz * t_from)[None], from_hz, to_hz)
    assert out.shape == (1, len(t_to))
    middle = slice(to_hz // 2, -to_hz // 2)
    np.testing.assert_allclose(out[0, middle], np.sin(2 * np.pi * hz * t_to)[middle], atol=0.02)


@given(st.floats(-5, 5), st.floats(-1, 1))
@settings(deadline=None)
def test_an_offset_and_a_drift_make_no_step_at_the_ends(offset, slope):
    line = offset + slope * np.arange(2500) / 250
    out = signals.resample(np.tile(line, (12, 1)), 250, 500)
    np.testing.assert_allclose(out, np.tile(offset + slope * np.arange(5000) / 500, (12, 1)), atol=1e-2)


def test_frequencies_beyond_the_new_limit_are_removed():
    t = np.arange(5000) / 500
    out = signals.resample(np.sin(2 * np.pi * 80 * t)[None], 500, 100)
    assert np.abs(out[0, 50:-50]).max() < 0.02


def test_resampling_refuses_missing_samples_and_impossible_rates(ecg):
    with pytest.raises(SignalError, match="positive"):
        signals.resample(ecg, 0, 500)
    ecg[0, 0] = np.nan
    with pytest.raises(SignalError, match="fill_missing"):
        signals.resample(ecg, 250, 500)


def test_length_is_cut_at_start_or_centre_and_padded_at_the_end():
    row = np.arange(1.0, 7.0)[None]
    np.testing.assert_array_equal(signals.fit_length(row, 4), [[1, 2, 3, 4]])
    np.testing.assert_array_equal(signals.fit_length(row, 4, "centre"), [[2, 3, 4, 5]])
    np.testing.assert_array_equal(signals.fit_length(row, 8), [[1, 2, 3, 4, 5, 6, 0, 0]])
    with pytest.raises(SignalError, match="end"):
        signals.fit_length(row, 4, "end")


# missing samples and quality ---------------------------------------------------------------------------------


def test_gaps_are_bridged_by_lines_lead_by_lead():
    ecg = np.array([[0.0, np.nan, 2.0, np.inf, np.inf, 5.0], [np.nan, 1.0, 1.0, 3.0, 3.0, -np.inf]])
    filled, count = signals.fill_missing(ecg)
    assert count == 5
    np.testing.assert_allclose(filled, [[0, 1, 2, 3, 4, 5], [1, 1, 1, 3, 3, 3]])
    assert np.isnan(ecg[0, 1]), "the input must stay as it was"


def test_a_lead_without_a_sample_becomes_zero_and_shows_as_flat(ecg):
    ecg[7] = np.nan
    filled, count = signals.fill_missing(ecg)
    assert count == 1000
    assert signals.flat_leads(filled) == ["V2"]


def test_a_good_record_has_no_problem(ecg):
    assert signals.quality(ecg, 100) == []


def _kinds(ecg, hz=100):
    return [problem.split()[0].rstrip(":") for problem in signals.quality(ecg, hz)]


def test_every_problem_is_told(ecg):
    assert _kinds(ecg[:, :300]) == ["short"]
    assert _kinds(np.zeros((12, 1000))) == ["flat"]
    assert _kinds(ecg * 1000) == ["absurd"]
    with_gap = ecg.copy()
    with_gap[3, 5] = np.nan
    assert _kinds(with_gap) == ["missing"]
    flat = ecg.copy()
    flat[8] = 0.3
    assert signals.quality(flat, 100) == ["flat leads: V3"]
    assert "short" in _kinds(ecg[:, :0])


@given(st.permutations(LEADS[:6]))
@settings(max_examples=60, deadline=None)
def test_exchanged_limb_leads_break_einthoven(order):
    """Any wrong naming of the limb leads shows, so that a file with permuted leads does not pass unseen."""
    rng = np.random.default_rng(5)
    ecg = twelve(rng.normal(size=1000), 2 * rng.normal(size=1000), rng.normal(size=(6, 1000)))
    wrong = ecg.copy()
    wrong[:6] = ecg[[LEADS.index(lead) for lead in order]]
    assert (_kinds(wrong) == []) == (tuple(order) == LEADS[:6])


# int16 -------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-32.5, 32.5, width=32), min_size=1, max_size=50), st.sampled_from([200.0, 1000.0]))
@settings(deadline=None)
def test_int16_keeps_every_sample_to_half_a_step(values, gain):
    x = np.array([values], dtype=np.float32)
    steps, clipped = signals.to_int16(x, gain)
    assert clipped == 0
    np.testing.assert_allclose(signals.from_int16(steps, gain), x, atol=0.5 / gain + 1e-5)
    again, _ = signals.to_int16(signals.from_int16(steps, gain), gain)
    np.testing.assert_array_equal(again, steps)


def test_int16_clips_and_counts_and_knows_no_nan():
    steps, clipped = signals.to_int16(np.array([[40.0, -40.0, 1.0]]))
    assert steps.tolist() == [[32767, -32767, 1000]]
    assert clipped == 2
    with pytest.raises(SignalError, match="fill_missing"):
        signals.to_int16(np.array([[np.nan]]))
