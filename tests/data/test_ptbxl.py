"""PTB-XL: folders made for the test, broken on purpose, and the real records."""

import shutil

import numpy as np
import pandas as pd
import pytest
from wfdb_files import edit, heartbeat, prepare_here, write_record

from ecglib.data import open_dataset
from ecglib.data.ptbxl import PtbXl
from ecglib.errors import DataError, ParameterError, StoreError
from ecglib.signals import LEADS

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def ptbxl_folder(root, records=6, **changes):
    """A PTB-XL folder of a few records; ``changes`` column -> {row: value}."""
    table = pd.DataFrame(
        {
            "ecg_id": [str(i + 1) for i in range(records)],
            "patient_id": ["15709.0", "15709.0", *(f"{i}.0" for i in range(2, records))],
            "age": ["56.0", "", "300.0", "19", "89.0", "50"][:records],
            "sex": ["0", "1", "0", "1", "", "1"][:records],
            "report": ["sinusrhythmus  normales ekg", "", "\u00dcberleitungsst\u00f6rung", "a", "b", "c"][:records],
            "scp_codes": ["{'NORM': 100.0, 'SR': 0.0}", "{'IMI': 15.0, 'NST_': 0.0}", *["{}"] * (records - 2)],
            "strat_fold": ["3", "10", "9", "1", "2", "4"][:records],
            "filename_lr": [f"records100/00000/{i + 1:05d}_lr" for i in range(records)],
            "filename_hr": [f"records500/00000/{i + 1:05d}_hr" for i in range(records)],
        }
    )
    for column, values in changes.items():
        for row, value in values.items():
            table.loc[row, column] = value
    root.mkdir(parents=True, exist_ok=True)
    table.to_csv(root / "ptbxl_database.csv", index=False, encoding="utf-8")
    shout = tuple(lead.upper() for lead in LEADS)
    for i in range(records):
        for hz, part, end in ((100, "records100", "lr"), (500, "records500", "hr")):
            path = write_record(root / part / "00000", f"{i + 1:05d}_{end}", heartbeat(hz, seed=i), hz=hz)
            for lead, loud in zip(LEADS, shout, strict=True):
                if lead != loud:
                    edit(path, f" {lead}\n", f" {loud}\n")
    return root


def test_ptbxl_table_becomes_records(tmp_path):
    root = ptbxl_folder(tmp_path / "p")
    store = prepare_here(PtbXl(root), tmp_path / "s")
    records = store.records.set_index("id")
    assert records["patient"].tolist()[:3] == ["15709", "15709", "2"]
    assert records["sex"].tolist() == ["M", "F", "M", "F", "", "F"]
    np.testing.assert_array_equal(records["age"], [56, np.nan, 90, 19, 89, 50])
    assert records["report"].tolist()[:3] == ["sinusrhythmus normales ekg", "", "\u00dcberleitungsst\u00f6rung"]
    assert records.loc["2", "labels/ptbxl-super"] == ["MI", "STTC"]
    assert records.loc["2", "labels/ptbxl-form"] == ["NST"]
    assert records.loc["1", "labels/ptbxl-rhythm"] == ["SR"]
    assert records["fold"].tolist() == [3, 10, 9, 1, 2, 4]
    for i in range(6):
        np.testing.assert_allclose(store.read([i])[0], heartbeat(500, seed=i), atol=0.00101)


def test_ptbxl_reads_the_files_of_the_rate_asked(tmp_path):
    root = ptbxl_folder(tmp_path / "p", 2)
    shutil.rmtree(root / "records500")
    assert prepare_here(PtbXl(root, 100), tmp_path / "s", 100).samples == 1000
    with pytest.raises(StoreError, match=r"none of the 2 records .* 00001_hr.hea cannot be read: No such file"):
        prepare_here(PtbXl(root, 500), tmp_path / "t")


def test_an_scp_code_nobody_knows_is_reported_not_fatal(tmp_path):
    root = ptbxl_folder(tmp_path / "p", 2, scp_codes={0: "{'NORM': 100.0, 'NEWC': 0.0}"})
    store = prepare_here(PtbXl(root), tmp_path / "s")
    assert store.card["unknown_scp_codes"] == {"NEWC": 1}
    assert store.records["labels/ptbxl-super"][0] == ["NORM"]
    assert store.records["findings"][0] == ["NORM"]


def test_ptbxl_tables_that_are_not_the_original(tmp_path):
    root = ptbxl_folder(tmp_path / "p", 2, scp_codes={1: "NORM"})
    with pytest.raises(DataError, match=r"scp_codes of record 2 .*'NORM'"):
        prepare_here(PtbXl(root), tmp_path / "s")
    table = pd.read_csv(root / "ptbxl_database.csv").drop(columns=["strat_fold", "sex"])
    table.to_csv(root / "ptbxl_database.csv", index=False)
    with pytest.raises(DataError, match=r"ptbxl_database.csv has no column sex, strat_fold"):
        prepare_here(PtbXl(root), tmp_path / "s")


def test_broken_files_are_quarantined_and_told(tmp_path):
    """Truncated data, foreign data, a missing lead, a wrong gain, no file: each with its own reason."""
    root = ptbxl_folder(tmp_path / "p")
    folder = root / "records500/00000"
    data = (folder / "00001_hr.dat").read_bytes()
    (folder / "00001_hr.dat").write_bytes(data[:70000])
    shutil.copy(folder / "00004_hr.dat", folder / "00002_hr.dat")
    edit(folder / "00003_hr.hea", " V6\n", " V5\n")
    edit(folder / "00004_hr.hea", "1000.0(0)/mV", "1.0(0)/mV")
    (folder / "00005_hr.hea").unlink()
    with pytest.warns(UserWarning, match="5 records of ptb-xl were left out.*1: 00001_hr.dat is cut short"):
        store = open_dataset("ptb-xl", root, sampling_rate_hz=500, workers=1)
    assert store.records["id"].tolist() == ["6"]
    reasons = {entry["id"]: entry["reason"] for entry in store.card["quarantined"]}
    for record, words in {
        "1": "cut short", "2": "checksum", "3": "V5 given twice", "4": "wrong gain or unit", "5": "No such file"
    }.items():  # fmt: skip
        assert words in reasons[record]


def test_open_dataset_prepares_once_and_again_after_a_change(tmp_path, cache):
    root = ptbxl_folder(tmp_path / "p", 4)
    first = open_dataset("ptb-xl", root, sampling_rate_hz=100)
    assert open_dataset("ptb-xl", str(root), sampling_rate_hz=100).folder == first.folder
    assert open_dataset("ptb-xl", root, sampling_rate_hz=500).folder != first.folder
    assert len(open_dataset("ptb-xl", root, sampling_rate_hz=100, n=2, seed=1)) == 2
    assert first.folder.is_relative_to(cache / "ptb-xl")
    assert str(tmp_path) not in (first.folder / "card.json").read_text()
    edit(root / "ptbxl_database.csv", "'NORM': 100.0", "'IMI': 100.00")
    assert open_dataset("ptb-xl", root, sampling_rate_hz=100).fingerprint != first.fingerprint
    with pytest.raises(ParameterError, match="no option labels"):
        open_dataset("ptb-xl", root, sampling_rate_hz=100, labels="exact")


@pytest.mark.parametrize(("hz", "n"), [(100, None), (500, 60), (250, 40)])
def test_ptbxl_real_records(real_data, hz, n):
    import wfdb

    root = real_data("ptbxl_subset")
    store = open_dataset("ptb-xl", root, sampling_rate_hz=hz, n=n)
    assert len(store) == (n or 333)
    assert store.samples == 10 * hz
    assert store.card["quarantined"] == []
    assert store.card["unknown_scp_codes"] == {}
    assert set(store.records["fold"]) <= set(range(1, 11))
    if hz != 250:
        for at in (0, len(store) // 2, len(store) - 1):
            signal, _ = wfdb.rdsamp(str(root / store.records["source"][at].removesuffix(".hea")))
            np.testing.assert_allclose(store.read([at])[0], signal.T, atol=1e-6)


def test_ptbxl_real_labels_are_the_released_ones_by_name(real_data):
    store = open_dataset("ptb-xl", real_data("ptbxl_subset"), sampling_rate_hz=100)
    for kind, folder in (("super", "super_class"), ("sub", "sub_class"), ("form", "form"), ("rhythm", "rhythm")):
        paths = sorted((real_data("merl_splits") / "ptbxl" / folder).glob("*.csv"))
        released = pd.concat([pd.read_csv(path) for path in paths]).set_index("ecg_id")
        view, matrix, classes = store.task(f"ptbxl-{kind}")
        compared = 0
        for record, patient, fold, row in zip(
            view.records["id"].astype(int), view.records["patient"], view.records["fold"], matrix, strict=True
        ):
            if record in released.index:
                theirs = released.loc[record]
                assert theirs[list(classes)].astype(bool).tolist() == row.tolist()
                assert int(theirs["patient_id"]) == int(patient)
                assert theirs["strat_fold"] == fold
                compared += 1
        assert compared >= 0.9 * len(view)
