"""QTc and axis: textbook values, and the same for measured and simulated ECGs."""

import numpy as np
import pytest

from ecglib.conventions import corrected_qt_ms, frontal_axis_deg
from ecglib.data.synthetic import simulate_record
from ecglib.signals import LEADS


@pytest.mark.parametrize(
    ("qt_ms", "rr_s", "expected"),
    [(400, 1.0, 400), (360, 0.64, 450), (360, 0.6, 464.76), (400, 1.331, 363.64), (300, 0.512, 375)],
)
def test_bazett_between_60_and_100_fridericia_outside(qt_ms, rr_s, expected):
    assert corrected_qt_ms(qt_ms, rr_s) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("angle", [-150.0, -30.0, 0.0, 45.0, 90.0, 170.0])
def test_the_axis_of_a_dipole_is_its_angle(angle):
    """Leads of a dipole in Einthoven's triangle: I along 0, aVF along 90 degrees and 2/sqrt(3) shorter."""
    radians = np.radians(angle)
    lead_i, lead_avf = np.cos(radians), np.sin(radians) * np.sqrt(3) / 2
    assert frontal_axis_deg(lead_i, lead_avf) == pytest.approx(angle, abs=0.01)


def test_simulated_features_follow_the_same_conventions():
    for index in range(20):
        features = simulate_record("ptb-xl", 0, index).features
        rr_s = (features["qt_ms"] / features["qtc_ms"]) ** 2
        cube = (features["qt_ms"] / features["qtc_ms"]) ** 3
        by_either = [corrected_qt_ms(features["qt_ms"], rr) for rr in (rr_s, cube)]
        assert any(value == pytest.approx(features["qtc_ms"]) for value in by_either)
        assert -180 <= features["axis_deg"] <= 180
    assert LEADS[5] == "aVF"
