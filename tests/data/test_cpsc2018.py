"""CPSC2018: the original structs and the form of the Challenges."""

import numpy as np
import pandas as pd
import pytest
from wfdb_files import heartbeat

from ecglib.data import open_dataset
from ecglib.errors import DataError
from ecglib.signals import quality

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def cpsc_original(root, seconds=(6.0, 60.0, 10.0)):
    from scipy.io import savemat

    root.mkdir()
    for i, length in enumerate(seconds):
        ecg = {"sex": "Male" if i % 2 else "Female", "age": float(40 + i), "data": heartbeat(500, length, seed=i)}
        savemat(root / f"A{i + 1:04d}.mat", {"ECG": ecg})
    (root / "REFERENCE.csv").write_text(
        "Recording,First_label,Second_label,Third_label\nA0001,5,2,\nA0002,9,,\nA0003,1,,\nA0999,1,,\n"
    )
    return root


def test_cpsc_original_structs_from_6_to_60_seconds(tmp_path):
    store = open_dataset("cpsc2018", cpsc_original(tmp_path / "c"), sampling_rate_hz=500)
    assert store.records["labels/cpsc2018"].tolist() == [["AFIB", "CRBBB"], ["STE"], ["NORM"]]
    assert store.records["sex"].tolist() == ["F", "M", "F"]
    assert store.records["age"].tolist() == [40, 41, 42]
    assert store.records["duration_s"].tolist() == [6, 60, 10]
    assert store.card["left_out"]["in REFERENCE.csv without a file"] == 1
    ecg = store.read([0, 1])
    assert not ecg[0, :, 3000:].any()
    np.testing.assert_allclose(ecg[1], heartbeat(500, 60, seed=1)[:, :5000], atol=0.00051)


def test_cpsc_damaged_struct_is_quarantined(tmp_path):
    from scipy.io import savemat

    root = cpsc_original(tmp_path / "c")
    (root / "A0001.mat").write_bytes(b"MATLAB 5.0 or so they say")
    savemat(root / "A0002.mat", {"ECG": {"sex": "Male", "age": 1.0, "data": np.zeros((11, 5000))}})
    with pytest.warns(UserWarning, match="2 records of cpsc2018"):
        store = open_dataset("cpsc2018", root, sampling_rate_hz=500)
    reasons = [entry["reason"] for entry in store.card["quarantined"]]
    assert "no original CPSC2018 file" in reasons[0]
    assert "(11, 5000)" in reasons[1]


def test_cpsc_without_labels_is_refused(tmp_path):
    root = cpsc_original(tmp_path / "c")
    (root / "REFERENCE.csv").unlink()
    with pytest.raises(DataError, match=r"no REFERENCE.csv with their labels"):
        open_dataset("cpsc2018", root, sampling_rate_hz=500)


def test_cpsc_both_real_forms(real_data, tmp_path):
    original = open_dataset("cpsc2018", real_data("cpsc2018_original"), sampling_rate_hz=500)
    assert len(original) == 7
    assert original.records["labels/cpsc2018"].tolist()[0] == ["PAC"]
    challenge = open_dataset("cpsc2018", real_data("cinc2021_samples") / "cpsc_2018", sampling_rate_hz=500)
    assert challenge.records["labels/cpsc2018"].tolist() == [
        ["CRBBB"], ["NORM"], ["AFIB"], ["VPC"], ["CRBBB"], ["AFIB"], ["CRBBB"]
    ]  # fmt: skip
    assert challenge.records["duration_s"].max() == 25
    for store in (original, challenge):
        assert store.card["quarantined"] == []
        assert all(quality(ecg, 500) == [] for ecg in store.read(range(7)))
    splits = real_data("merl_splits") / "icbeb"
    by_name = open_dataset("cpsc2018", real_data("cpsc2018_original"), sampling_rate_hz=500, splits=splits)
    released = {
        name: fold
        for part, fold in (("train", 1), ("val", 9), ("test", 10))
        for name in pd.read_csv(splits / f"icbeb_{part}.csv")["filename"]
    }
    assert by_name.records["fold"].tolist() == [released.get(i, 0) for i in by_name.records["id"]]
