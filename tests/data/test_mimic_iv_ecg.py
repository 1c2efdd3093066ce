"""MIMIC-IV-ECG: its table, reports and lead order, in folders made from the documented layout."""

import numpy as np
import pandas as pd
import pytest
from wfdb_files import MIMIC_LEADS, heartbeat, prepare_here, write_record

from ecglib.data import open_dataset
from ecglib.data.mimic_iv_ecg import MimicIvEcg
from ecglib.data.originals import hash_fold
from ecglib.signals import quality

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


def mimic_folder(root, signals, reports):
    """The documented layout: record_list.csv, machine_measurements.csv, files/pNNNN/pS/sT/T.hea."""
    listed, measured = [], []
    for i, (ecg_mv, hz) in enumerate(signals):
        subject, study = str(10000032 + i // 2), str(40689238 + i)
        path = f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        write_record((root / path).parent, study, ecg_mv, hz=hz, leads=MIMIC_LEADS, gain=200.0)
        when = "2180-07-23 08:44:00"
        listed.append({"subject_id": subject, "study_id": study, "file_name": study, "ecg_time": when, "path": path})
        statements = reports.get(i)
        if statements is not None:
            row = {"subject_id": subject, "study_id": study, "cart_id": "6848296", "ecg_time": when}
            row |= {f"report_{k}": (statements[k] if k < len(statements) else "") for k in range(18)}
            measured.append(row | {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch", "rr_interval": "659"})
    pd.DataFrame(listed).to_csv(root / "record_list.csv", index=False)
    pd.DataFrame(measured).to_csv(root / "machine_measurements.csv", index=False)
    return root


def test_mimic_folder_with_its_own_lead_order(tmp_path):
    reports = {
        0: ["Sinus rhythm", "Possible right atrial abnormality"],
        1: ["Sinus rhythm"],  # two words: left out
        2: [],
        3: ["Atrial fibrillation with rapid response", "*** Abnormal EKG ***"],
        5: ["Vorhofflimmern ohne \u00dcberleitung, neu"],
    }
    root = mimic_folder(tmp_path / "m", [(heartbeat(seed=i), 500) for i in range(6)], reports)
    store = prepare_here(MimicIvEcg(root), tmp_path / "s")
    assert store.records["id"].tolist() == ["40689238", "40689241", "40689243"]
    assert store.records["report"].tolist() == [
        "Sinus rhythm. Possible right atrial abnormality",
        "Atrial fibrillation with rapid response. Abnormal ECG",
        "Vorhofflimmern ohne \u00dcberleitung, neu",
    ]
    assert store.card["left_out"] == {"no row of statements": 1, "report of fewer than 4 words": 2}
    assert store.tasks == ()
    np.testing.assert_allclose(store.read([1])[0], heartbeat(seed=3), atol=0.0031)


def test_mimic_patients_stay_in_one_fold():
    folds = [hash_fold(str(10000000 + i)) for i in range(5000)]
    assert set(folds) == set(range(1, 11))
    assert all(400 < folds.count(fold) < 600 for fold in range(1, 11))
    assert hash_fold("10000032") == hash_fold("10000032")


def test_mimic_folder_made_of_real_records(real_data, tmp_path):
    """Real PTB-XL signals, rewritten in MIMIC's order, gain and layout: they come back as they were."""
    import wfdb

    real = real_data("ptbxl_subset")
    table = pd.read_csv(real / "ptbxl_database.csv").head(8)
    signals, truth = [], []
    for name in table["filename_hr"]:
        signal, facts = wfdb.rdsamp(str(real / name))
        truth.append(signal.T)
        signals.append((signal.T, facts["fs"]))
    reports = {i: [text, "Borderline ECG read by machine"] for i, text in enumerate(table["report"])}
    root = mimic_folder(tmp_path / "m", signals, reports)
    store = open_dataset("mimic-iv-ecg", root, sampling_rate_hz=500)
    assert len(store) == 8
    np.testing.assert_allclose(store.read(range(8)), np.stack(truth), atol=0.0031)
    by_patient = store.records.groupby("patient")["fold"].nunique()
    assert len(by_patient) == 4
    assert by_patient.max() == 1
    assert all(quality(ecg, 500) == [] for ecg in store.read(range(8)))
