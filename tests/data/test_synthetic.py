"""The simulator as a source of records: deterministic, whole, consistent, and free of real data."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecglib.data.synthetic as synthetic
from ecglib.data.labels import FINDINGS, TASKS, findings_to_labels
from ecglib.data.synthetic import COHORTS, simulate_record, simulate_store, simulate_tracing
from ecglib.data.synthetic.cases import clashing
from ecglib.errors import ParameterError, StoreError
from ecglib.signals import LEADS

OWN_TASKS = {
    "mimic-iv-ecg": tuple(TASKS),
    "ptb-xl": ("ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm"),
    "cpsc2018": ("cpsc2018",),
    "csn": ("csn",),
    "ptb-xl in german": ("ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm"),
}


def test_a_record_depends_on_cohort_seed_and_index_alone():
    first = simulate_record("ptb-xl", 3, 7, 100)
    simulate_record("csn", 1, 0, 100)
    again = simulate_record("ptb-xl", 3, 7, 100)
    assert first.ecg_mv.tobytes() == again.ecg_mv.tobytes()
    assert (first.report, first.findings, first.patient) == (again.report, again.findings, again.patient)
    for other in (("ptb-xl", 3, 8), ("ptb-xl", 4, 7), ("csn", 3, 7)):
        assert simulate_record(*other, 100).ecg_mv.tobytes() != first.ecg_mv.tobytes()


def test_stores_are_equal_for_one_and_two_workers(tmp_path):
    one, two = (
        simulate_store(tmp_path / str(w), "ptb-xl", 150, seed=5, sampling_rate_hz=100, workers=w) for w in (1, 2)
    )
    assert (one.folder / "signals.npy").read_bytes() == (two.folder / "signals.npy").read_bytes()
    assert one.fingerprint == two.fingerprint
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".partial")]
    direct = simulate_record("ptb-xl", 5, 149, 100)
    np.testing.assert_allclose(one.read([149])[0], direct.ecg_mv, atol=0.00051)
    row = one.records.iloc[149]
    assert (row["report"], list(row["findings"])) == (direct.report, list(direct.findings))
    assert row["feature/rate_bpm"] == direct.features["rate_bpm"]


def test_two_records_of_one_patient_share_their_fold(tmp_path):
    records = simulate_store(tmp_path / "s", "csn", 60, seed=1, sampling_rate_hz=100, workers=1).records
    counts = records["patient"].value_counts()
    assert set(counts) == {1, 2}
    for patient in counts.index[counts == 2]:
        pair = records[records["patient"] == patient]
        assert pair["fold"].nunique() == 1
        assert pair["sex"].nunique() == 1
        assert np.ptp(pair["age"]) <= 4


@pytest.mark.parametrize("cohort", OWN_TASKS)
def test_every_class_of_its_tasks_occurs(cohort):
    wanted = {(task, cls) for task in OWN_TASKS[cohort] for cls in TASKS[task]}
    for index in range(3000):
        labels = findings_to_labels(simulate_tracing(cohort, 0, index, 100, 10.0).findings)
        wanted -= {(task, cls) for task in OWN_TASKS[cohort] for cls in labels[task]}
        if not wanted:
            break
    assert not wanted


def test_share_of_normal_records():
    found = [simulate_tracing("ptb-xl", 2, i, 100, 10.0).findings for i in range(1500)]  # known to 0.024
    assert 0.28 < np.mean(["NORM" in f for f in found]) < 0.47


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(COHORTS)), st.integers(0, 2**31), st.integers(0, 10**6))
def test_any_seed_gives_a_plausible_record(cohort, seed, index):
    record = simulate_record(cohort, seed, index, 100)
    ecg = record.ecg_mv
    assert ecg.shape == (12, 1000)
    assert ecg.dtype == np.float32
    assert np.isfinite(ecg).all()
    assert 0.1 < np.ptp(ecg, axis=1).max() < 20
    on = [lead not in record.disturbance.flat for lead in LEADS]
    assert np.ptp(ecg[on], axis=1).min() > 0.01
    i, ii, iii, avr, avl, avf = ecg[:6]
    for derived, rule in ((iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)):
        np.testing.assert_allclose(derived, rule, atol=1e-5)
    assert record.report
    assert set(record.findings) <= set(FINDINGS)
    assert record.labels == findings_to_labels(record.findings)
    assert 17 <= record.age <= 95
    assert 25 < record.features["rate_bpm"] < 260
    assert 60 < record.features["qrs_ms"] < 220
    assert all(f"{wave}_mv_{lead}" in record.features for wave in ("st", "t_amp", "r_amp", "s_amp") for lead in LEADS)


@pytest.mark.parametrize("codes", [[], ["AFIB"], ["AFLT"], ["PVC", "CRBBB"], ["3AVB"], ["SVARR", "IMI"]])
def test_100_hz_and_500_hz_show_the_same_tracing(codes):
    slow, fast = (simulate_tracing("ptb-xl", 4, 9, hz, 10.0, codes).ecg_mv for hz in (100, 500))
    for lead in range(12):
        assert np.corrcoef(slow[lead], fast[lead, ::5])[0, 1] > 0.96


def test_other_lengths_and_rates():
    for hz, seconds in ((250, 6.0), (360, 10.0), (100, 30.0)):
        assert simulate_record("csn", 0, 1, hz, seconds).ecg_mv.shape == (12, round(hz * seconds))


def test_what_cannot_be_simulated_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="mimic-iv-ecg"):
        simulate_record("ptbxl", 0, 0)
    with pytest.raises(ParameterError, match="FLUX"):
        simulate_tracing("csn", 0, 0, 100, 10.0, ["FLUX"])
    for healthy in ("NORM", "SR"):
        with pytest.raises(ParameterError, match=rf"{healthy}.*codes=\[\] asks for a healthy record"):
            simulate_record("csn", 0, 0, codes=[healthy])
    with pytest.raises(ParameterError, match=r"LPR.*1AVB"):
        simulate_record("csn", 0, 0, codes=["LPR"])
    with pytest.raises(ParameterError, match=r"give a list, codes=\['AFIB'\]"):
        simulate_record("csn", 0, 0, codes="AFIB")
    with pytest.raises(ParameterError, match="n=0"):
        simulate_store(tmp_path / "a", "csn", 0, seed=0, sampling_rate_hz=100)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(StoreError, match="photos"):
        simulate_store(tmp_path / "photos", "csn", 1, seed=0, sampling_rate_hz=100)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_the_simulator_reads_no_records():
    """Built from published physiology and sizes fitted beforehand: nothing in it opens data or imports a reader."""
    readers = {"ptbxl", "mimic_iv_ecg", "cpsc2018", "csn", "wfdb_io", "originals", "one_record", "prepare"}
    for path in Path(synthetic.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = {node.module.rsplit(".", 1)[-1], *(a.name for a in node.names)}
            elif isinstance(node, ast.Import):
                names = {a.name.split(".")[0] for a in node.names}
            else:
                continue
            assert not names & (readers | {"wfdb", "scipy"}), path.name
        assert "ECG_DATA" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "pair", ["AFIB PACE", "1AVB AFIB", "3AVB SVTAC", "AFIB AFLT", "ASMI IMI", "SBRAD STACH", "LAXIS RAXIS", "AFIB PAC"]
)
def test_conditions_that_no_tracing_shows_together_are_refused(pair):
    with pytest.raises(ParameterError, match=f"the codes {' and '.join(pair.split())} together; ask for one"):
        simulate_record("ptb-xl", 0, 3, 100, codes=pair.split()[::-1])


@pytest.mark.parametrize(
    "codes", ["BIGU PVC", "PAC TRIGU", "PAC PVC", "ANEUR AMI", "ANEUR ASMI", "PRC(S) PVC", "AFIB PVC"]
)
def test_conditions_that_come_together_may_be_asked_for_together(codes):
    simulate_record("ptb-xl", 0, 3, 100, codes=codes.split())


def test_what_the_cohorts_draw_may_be_asked_for():
    for cohort in COHORTS:
        for index in range(200):
            drawn = simulate_tracing(cohort, 12, index, 50, 2.0).case.codes
            assert clashing(drawn) is None, sorted(drawn)


@pytest.mark.parametrize(
    "bad",
    [
        *({"sampling_rate_hz": hz} for hz in (0, -5, 5, float("nan"))),
        *({"duration_s": seconds} for seconds in (0, float("inf"))),
        *({"seed": seed} for seed in (-1, 0.5)),
        {"index": -1},
    ],
)
def test_numbers_that_no_record_has_are_named(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ParameterError, match=f"{name}={value}"):
        simulate_record(**({"cohort": "csn", "seed": 0, "index": 0} | bad))
