"""CSN: nested folders, flat leads, exact and released labels."""

import numpy as np
import pandas as pd
import pytest
from wfdb_files import heartbeat, prepare_here, write_record

from ecglib.data import open_dataset
from ecglib.data.csn import Csn
from ecglib.errors import DataError

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def test_csn_nested_folders_flat_leads_and_both_label_rules(tmp_path):
    afib = "164889003,164934002"
    for i, dx in enumerate([afib, "426783006", "999,426783006"]):
        ecg = heartbeat(seed=i)
        if i == 1:
            ecg[[7, 9]] = 0
        write_record(
            tmp_path / f"c/WFDBRecords/01/01{i}", f"JS0000{i}", ecg, comments=["Age: 77", "Sex: Female", f"Dx: {dx}"]
        )
    write_record(tmp_path / "c/WFDBRecords/01/013", "JS00003", np.zeros((12, 5000)), comments=["Dx: 426783006"])
    with pytest.warns(UserWarning, match="JS00003: all leads are flat"):
        store = open_dataset("csn", tmp_path / "c", sampling_rate_hz=500)
    assert store.records["labels/csn"].tolist() == [["AFIB", "TWC"], ["SR"], ["SR"]]
    assert store.records["flat_leads"].tolist() == [[], ["V2", "V4"], []]
    assert store.card["warnings"] == {"flat leads": 1}
    assert store.card["unknown_snomed_codes"] == {"999": 1}
    assert store.records["source"][0] == "WFDBRecords/01/010/JS00000.hea"
    assert (store.records["age"][0], store.records["sex"][0]) == (77, "F")
    released = prepare_here(Csn(tmp_path / "c", labels="merl-substring"), tmp_path / "s")
    assert released.records["labels/csn"].tolist() == [["AF", "AFIB", "TWC"], ["SR"]]
    assert released.card["left_out"] == {"a code outside CSN's list": 1}
    with pytest.raises(DataError, match="rule"):
        open_dataset("csn", tmp_path / "c", sampling_rate_hz=500, labels="approximate")


@pytest.mark.parametrize(("part", "records", "flat"), [("chapman_shaoxing", 7, 0), ("ningbo", 20, 4)])
def test_csn_real_records(real_data, part, records, flat):
    store = open_dataset("csn", real_data("cinc2021_samples") / part, sampling_rate_hz=500)
    assert len(store) == records
    assert store.card["quarantined"] == []
    assert sum(map(bool, store.records["flat_leads"])) == flat
    assert store.card["warnings"].get("flat leads", 0) == flat
    assert store.records["sex"].isin(["F", "M"]).all()


def test_csn_labels_agree_with_the_released_ones_by_name(real_data):
    root, splits = real_data("cinc2021_samples"), real_data("merl_splits") / "chapman"
    store = open_dataset("csn", root, sampling_rate_hz=100, labels="merl-substring", splits=splits)
    released = pd.concat([pd.read_csv(path) for path in sorted(splits.glob("*.csv"))])
    released.index = released["ecg_path"].str.extract(r"(JS\d+)")[0]
    view, matrix, classes = store.task("csn")
    assert len(view) >= 10
    for record, row in zip(view.records["id"], matrix, strict=True):
        assert released.loc[record, list(classes)].astype(bool).tolist() == row.tolist()
