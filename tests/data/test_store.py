"""The record store: what goes in comes out, and a damaged store says what is wrong and what to do."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.data.store import RecordStore, write_store
from ecglib.errors import StoreError


def table(n: int = 6) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "patient": [f"p{i // 2}" if i < 5 else None for i in range(n)],
            "report": ["sinus rhythm", "", "Überleitung gestört", None, "a", "b"][:n],
            "age": [50.0, None, 7, 80, 91, 20][:n],
            "sex": ["F", "M", "", "F", "M", None][:n],
            "fold": [1, 2, 3, 9, 10, 10][:n],
            "labels/ptbxl-super": [["NORM"], [], ["MI", "CD"], ["STTC"], ["HYP"], ["NORM"]][:n],
            "feature/rate_bpm": np.arange(n) * 10.0,
        }
    )


def ecgs(n: int = 6, samples: int = 50) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 12, samples)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "s", 100, ecgs(), table(), {"name": "toy", "licence": "none"})


def test_what_goes_in_comes_out(store):
    assert len(store) == 6
    assert store.samples == 50
    assert store.sampling_rate_hz == 100
    assert store.card["licence"] == "none"
    np.testing.assert_allclose(store.read(range(6)), ecgs(), atol=0.0005001)
    order = [4, 0, 4, 2]
    np.testing.assert_array_equal(store.read_int16(order), store.signals[order])
    np.testing.assert_array_equal(store.read(order), store.read(range(6))[order])
    records = store.records
    assert records["report"].tolist() == ["sinus rhythm", "", "Überleitung gestört", "", "a", "b"]
    assert records["patient"].tolist() == ["p0", "p0", "p1", "p1", "p2", "r5"], "no patient: the record stands alone"
    assert records["sex"].tolist() == ["F", "M", "", "F", "M", ""]
    assert np.isnan(records["age"][1])
    assert records["labels/ptbxl-super"][2] == ["MI", "CD"]
    store.verify()


def test_leads_by_name_in_the_order_asked(store):
    np.testing.assert_array_equal(store.read([1, 3], "V5,I"), store.read([1, 3])[:, [10, 0]])
    np.testing.assert_array_equal(store.read([1], "all"), store.read([1]))
    with pytest.raises(ValueError, match="V7"):
        store.read([0], ["V7"])


def test_a_view_is_a_store_of_some_records(store):
    view = store.fold_in(9, 10)
    assert view.records["id"].tolist() == ["r3", "r4", "r5"]
    again = view.select([2, 0])
    assert again.records["id"].tolist() == ["r5", "r3"]
    np.testing.assert_array_equal(again.read([0, 1]), store.read([5, 3]))
    np.testing.assert_array_equal(view.select([True, False, True]).read([1]), store.read([5]))
    assert len({store.fingerprint, view.fingerprint, again.fingerprint}) == 3
    assert view.fingerprint == store.fold_in(9, 10).fingerprint
    assert len(store.select([])) == 0
    assert store.read([]).shape == (0, 12, 50)


def test_task_leaves_out_records_without_a_label(store):
    view, labels, classes = store.task("ptbxl-super")
    assert view.records["id"].tolist() == ["r0", "r2", "r3", "r4", "r5"]
    assert labels.shape == (5, 5)
    assert [classes[c] for c in np.flatnonzero(labels[1])] == ["MI", "CD"]
    with pytest.raises(StoreError, match=r"csn.*it has: ptbxl-super"):
        store.task("csn")


def test_a_pickled_store_reads_the_same_and_weighs_nothing(store):
    data = pickle.dumps(store.fold_in(10))
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data).read([0]), store.read([4]))


@pytest.mark.parametrize("indices", [[6], [-1], [0.5], [[0, 1]]])
def test_an_impossible_position_is_refused(store, indices):
    with pytest.raises(StoreError):
        store.read(indices)


def test_the_fingerprint_follows_signals_and_labels(tmp_path, store):
    same = write_store(tmp_path / "same", 100, iter([ecgs()[:4], ecgs()[4:]]), table())
    assert same.fingerprint == store.fingerprint
    assert (tmp_path / "same/records.parquet").read_bytes() == (tmp_path / "s/records.parquet").read_bytes()
    other_signals = ecgs()
    other_signals[0, 0, 0] += 1
    labels = table()
    labels.at[0, "labels/ptbxl-super"] = ["CD"]
    prints = {
        store.fingerprint,
        write_store(tmp_path / "b", 100, other_signals, table()).fingerprint,
        write_store(tmp_path / "c", 100, ecgs(), labels).fingerprint,
        write_store(tmp_path / "d", 500, ecgs(), table()).fingerprint,
    }
    assert len(prints) == 4


def test_writing_replaces_a_store_but_nothing_else(tmp_path, store):
    assert len(write_store(store.folder, 100, ecgs(2), table(2))) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="holds something else"):
        write_store(tmp_path / "mine", 100, ecgs(), table())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "s"]


def _doubled_id(records):
    records.loc[3, "id"] = "r1"


def _no_id(records):
    records.loc[3, "id"] = None


def _odd_sex(records):
    records.loc[0, "sex"] = "1"


def _odd_label(records):
    records.at[0, "labels/ptbxl-super"] = ["AMI"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [(_doubled_id, "'r1' occurs more than once"), (_no_id, "no id"), (_odd_sex, "sex '1'"), (_odd_label, "AMI")],
)
def test_a_bad_table_is_refused_and_leaves_nothing_behind(tmp_path, harm, message):
    records = table()
    harm(records)
    with pytest.raises(StoreError, match=message):
        write_store(tmp_path / "s", 100, ecgs(), records)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (ecgs(5), "5 signals for 6 rows"),
        (ecgs()[:, :11], "12"),
        (iter([ecgs(3), ecgs(3, 40)]), "T must not vary"),
        (np.full((6, 12, 50), np.nan, np.float32), "missing"),
    ],
)
def test_bad_signals_are_refused_and_leave_nothing_behind(tmp_path, signals, message):
    with pytest.raises(ValueError, match=message):
        write_store(tmp_path / "s", 100, signals, table())
    assert not list(tmp_path.iterdir())


def test_samples_beyond_int16_are_clipped_and_counted(tmp_path):
    signals = ecgs()
    signals[0, 0, :3] = 40, -40, 32.767
    store = write_store(tmp_path / "s", 100, signals, table())
    assert store.card["clipped_samples"] == 2
    np.testing.assert_allclose(store.read([0])[0, 0, :3], [32.767, -32.767, 32.767], rtol=1e-6)


def _edit_card(folder, **changes):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def _truncate(folder):
    path = folder / "signals.npy"
    path.write_bytes(path.read_bytes()[:-100])


def _edit_table(folder):
    data = bytearray((folder / "records.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "records.parquet").write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: _edit_card(f, store_version=0), "made by store version 0"),
        (lambda f: _edit_card(f, gain_per_mv=200.0), "card.json was edited"),
        (lambda f: (f / "card.json").write_text("{"), "no card of a record store"),
        (lambda f: (f / "card.json").unlink(), "not a record store"),
        (lambda f: (f / "signals.npy").unlink(), "signals.npy is missing"),
        (_truncate, "signals.npy has .* bytes"),
        (_edit_table, "records.parquet was changed"),
    ],
)
def test_a_damaged_store_is_refused_with_file_and_remedy(store, harm, message):
    harm(store.folder)
    with pytest.raises(StoreError, match=message) as caught:
        RecordStore.open(store.folder)
    assert str(store.folder) in str(caught.value)
    assert "prepare" in str(caught.value) or "open_dataset" in str(caught.value)


def test_verify_finds_a_changed_sample(store):
    path = store.folder / "signals.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"signals.npy was changed"):
        RecordStore.open(store.folder).verify()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        RecordStore.open(tmp_path / "nowhere")


@given(st.lists(st.integers(0, 5), max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_order_of_positions_reads_those_records(tmp_path_factory, order):
    folder = tmp_path_factory.getbasetemp() / "property-store"
    store = RecordStore.open(folder) if folder.exists() else write_store(folder, 100, ecgs(), table())
    np.testing.assert_array_equal(store.read_int16(order), store.signals[np.array(order, int)])
