"""The CinC Challenges: parts told apart, SNOMED codes to findings, odd headers, broken records."""

import numpy as np
import pandas as pd
import pytest
from wfdb_files import edit, heartbeat, write_record

from ecglib.data import open_dataset
from ecglib.data.cinc2021 import Cinc2021, part_of, snomed_to_findings, unmapped
from ecglib.data.labels import FINDINGS
from ecglib.errors import DataError

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


@pytest.mark.parametrize(
    ("dx", "findings", "superclasses"),
    [
        ("426783006", ["SR"], ["NORM"]),  # nothing but sinus rhythm
        ("426783006,164934002", ["SR", "TAB"], []),
        ("164865005", [], ["MI"]),  # an infarction somewhere
        ("54329005", ["AMI"], ["MI"]),
        ("6374002", [], ["CD"]),  # a bundle branch block, right or left
        ("733534002,164873001", ["CLBBB", "LVH"], ["CD", "HYP"]),
        ("314208002", ["AFIB"], []),  # rapid fibrillation is filed under fibrillation
        ("17338001", ["PVC"], []),
        ("84114007", [], []),  # heart failure is not on the ECG
        ("", [], []),
    ],
)
def test_codes_become_findings_and_superclasses(tmp_path, dx, findings, superclasses):
    write_record(tmp_path / "g1", "E00001", comments=["Age: 61", "Sex: Male", f"Dx: {dx}"])
    row = Cinc2021(tmp_path).rows().iloc[0]
    assert row["findings"] == findings
    assert row["labels/ptbxl-super"] == superclasses
    assert row["part"] == "georgia"


def test_a_folder_of_several_sources(tmp_path):
    comments = ["Age: NaN", "Sex: Female", "Dx: 164889003,999"]
    write_record(tmp_path / "c/ptb", "S0001", heartbeat(1000), hz=1000, comments=comments)
    write_record(tmp_path / "c/incart", "I0001", heartbeat(257, seconds=30), hz=257, comments=comments)
    write_record(tmp_path / "c/georgia", "E00001", comments=comments)
    edit(tmp_path / "c/georgia/E00001.hea", "E00001 12 500 5000", "E00001 12 500 5000 05-May-2020 14:50:55")
    flat = heartbeat()
    flat[[6, 7]] = 0
    write_record(tmp_path / "c/ningbo", "JS20004", flat, comments=comments)
    broken = write_record(tmp_path / "c/georgia", "E00002", comments=comments)
    data = broken.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-100])
    (tmp_path / "c/georgia/notes.hea").write_text("no record")
    with pytest.warns(UserWarning, match="E00002: .*cut short"):
        store = open_dataset("cinc2021", tmp_path / "c", sampling_rate_hz=500)
    assert dict(zip(store.records["id"], store.records["part"], strict=True)) == {
        "E00001": "georgia", "I0001": "incart", "JS20004": "csn", "S0001": "ptb",
    }  # fmt: skip
    assert store.records["duration_s"].round(2).tolist() == [10, 30, 10, 10]
    assert store.records["flat_leads"].tolist() == [[], [], ["V1", "V2"], []]
    assert store.records["findings"].tolist() == [["AFIB"]] * 4
    assert store.card["unmapped_snomed_codes"] == {"999": 5}
    assert [entry["id"] for entry in store.card["quarantined"]] == ["E00002"]
    assert np.isnan(store.records["age"]).all()
    np.testing.assert_allclose(store.read([0])[0], heartbeat(), atol=0.002)


def test_names_tell_the_source():
    assert [part_of(name) for name in ("A0001", "Q0001", "HR21837", "JS45551")] == [
        "cpsc2018", "cpsc2018-extra", "ptb-xl", "csn",
    ]  # fmt: skip
    with pytest.raises(DataError, match="no record of the Challenge"):
        part_of("patient_1")
    with pytest.raises(DataError, match="X00001"):
        part_of("X00001")


def test_real_records_all_load_and_their_table_agrees(real_data):
    root = real_data("cinc2021_samples")
    store = open_dataset("cinc2021", root, sampling_rate_hz=500)
    listed = pd.read_csv(root / "records.csv", dtype=str).set_index("record")
    assert len(store) == len(listed) == 95
    assert store.card["quarantined"] == []
    of_table = listed.loc[store.records["id"]]
    named = of_table["source"].replace(
        {"cpsc_2018": "cpsc2018", "cpsc_2018_extra": "cpsc2018-extra", "chapman_shaoxing": "csn", "ningbo": "csn"}
    )
    assert store.records["part"].tolist() == named.tolist()
    assert store.records["snomed"].tolist() == of_table["dx_snomed"].str.replace(",", " ").tolist()
    assert {finding for some in store.records["findings"] for finding in some} <= FINDINGS.keys()
    assert (store.records["part"] == "ptb-xl").sum() == 16
    sets_of_their_own = store.records["part"].isin(("ptb-xl", "cpsc2018", "csn"))
    assert (~sets_of_their_own).sum() == 45  # 22 georgia, 19 cpsc2018-extra, 4 ptb


def test_ptbxl_records_in_the_challenge_are_those_of_ptbxl(real_data):
    """Why that part is left out: sample for sample the same."""
    challenge = open_dataset("cinc2021", real_data("cinc2021_samples") / "ptb-xl", sampling_rate_hz=500)
    original = open_dataset("ptb-xl", real_data("ptbxl_subset"), sampling_rate_hz=500)
    ids = original.records["id"].tolist()
    shared = [int(name[2:]) for name in challenge.records["id"]]
    same = [(row, ids.index(str(n))) for row, n in enumerate(shared) if str(n) in ids]
    assert len(same) >= 5
    for row, other in same:
        np.testing.assert_array_equal(challenge.read_int16([row]), original.read_int16([other]))


def test_every_code_of_the_challenge_is_mapped_or_counted(real_data):
    table = pd.read_csv(real_data("csn_labels") / "challenge2021_dx_mapping.csv", dtype=str)
    codes = table["snomed_code"].tolist()
    without = set(unmapped(codes))
    assert sum(bool(snomed_to_findings([code])) for code in codes) >= 75
    assert {"84114007", "39732003"} & without == {"84114007"}
