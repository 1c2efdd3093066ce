"""ST and T of simulated hearts: where they begin, and what a block of conduction makes of them."""

import numpy as np
import pytest

from ecglib.data.synthetic import simulate_record
from ecglib.data.synthetic.repolarisation import st_rows
from ecglib.data.synthetic.waves import bumps
from ecglib.delineate import measure_ecg
from ecglib.errors import SignalError


def measured(codes: list[str], n: int, seed: int) -> list[tuple[dict, dict]]:
    """What is measured of the noisy record, and its truth."""
    found = []
    for i in range(n):
        record = simulate_record("ptb-xl", seed, i, 500, codes=codes)
        try:
            found.append((measure_ecg(record.ecg_mv, 500), record.features))
        except SignalError:  # a strip without two whole beats
            continue
    assert len(found) > 0.9 * n
    return found


def test_the_segment_is_whole_at_j_and_does_not_begin_long_before():
    early = np.array(st_rows(np.ones(3), np.zeros(3), 200.0))[:1]
    before, at_j, later = bumps(early[None, :, :3], np.array([[-30.0, 0.0, 60.0]]))[0, 0]
    assert at_j == 1
    assert before < 0.15
    assert 0.5 < later < 1


@pytest.mark.parametrize("codes", [[], ["IMI"], ["CRBBB"], ["STE"]], ids=str)
def test_a_shift_of_st_does_not_look_like_a_longer_qrs(codes):
    over = [found["qrs_ms"] - truth["qrs_ms"] for found, truth in measured(codes, 150, seed=2)]
    assert np.mean(np.array(over) > 15) < 0.05
    assert abs(np.median(over)) < 4


def test_right_bundle_block_turns_t_where_the_late_forces_point_and_nowhere_else():
    found = [found for found, _ in measured(["CRBBB"], 80, seed=777)]
    t_mv = {lead: np.median([one[f"t_mv_{lead}"] for one in found]) for lead in ("I", "II", "aVF", "V1", "V6")}
    assert t_mv["V1"] < -0.1
    assert min(t_mv["I"], t_mv["II"], t_mv["V6"]) > 0.1
    assert t_mv["aVF"] > 0
    ill = [one["t_mv_II"] < -0.1 and one["t_mv_aVF"] < -0.1 for one in found]
    assert np.mean(ill) < 0.1  # which would be called inferior ischaemia


def test_left_bundle_block_opposes_t_to_the_qrs():
    found = [found for found, _ in measured(["CLBBB"], 120, seed=5)]
    for lead, sign, least in (("I", -1, 0.85), ("V6", -1, 0.9), ("V1", 1, 0.9)):
        t_mv = np.array([sign * one[f"t_mv_{lead}"] for one in found])
        assert np.mean(t_mv[np.isfinite(t_mv)] > 0) > least, lead
