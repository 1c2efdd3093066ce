"""Records side by side: each as it is alone, in order, and one that fails is not hidden."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_stream import assert_same

from ecglib.data.synthetic import simulate_record, simulate_records
from ecglib.data.synthetic.stages import alone, side_by_side


def counted(stages, result, log=None):
    for stage in range(stages):
        if log is not None:
            log.append((stage, result))
        yield
    return result


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 5))
def test_results_come_in_order_whatever_the_number_of_stages(lengths, at_once):
    steps = [counted(n, k) for k, n in enumerate(lengths)]
    assert list(side_by_side(steps, at_once)) == list(range(len(lengths)))
    assert [alone(counted(n, k)) for k, n in enumerate(lengths)] == list(range(len(lengths)))


def test_all_of_a_group_do_a_stage_before_any_does_the_next():
    log = []
    assert list(side_by_side((counted(2, name, log) for name in "abc"), at_once=2)) == ["a", "b", "c"]
    assert log == [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (0, "c"), (1, "c")]


def test_what_fails_is_raised_after_the_groups_before_it():
    def failing():
        yield
        raise ValueError("no beats")

    records = side_by_side([counted(1, "a"), counted(1, "b"), counted(2, "c"), failing()], at_once=2)
    assert [next(records), next(records)] == ["a", "b"]
    with pytest.raises(ValueError, match="no beats"):
        next(records)


@pytest.mark.parametrize("codes", [None, [], ["AFIB"], ["PVC", "BIGU"]])
def test_a_record_is_the_same_alone_and_beside_others(codes):
    indices = [31, 4, 4, 11, 10, *range(40, 55)]
    for index, record in zip(indices, simulate_records("mimic-iv-ecg", 6, indices, 100, 4.0, codes), strict=True):
        assert_same(record, simulate_record("mimic-iv-ecg", 6, index, 100, 4.0, codes))
