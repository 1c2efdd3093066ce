"""Calls and folders that cannot be: each message says what was expected and what to do."""

import pytest

from ecglib.data import READERS, open_dataset
from ecglib.errors import DataError, ParameterError

# wfdb uses a keyword that pandas will drop
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")


@pytest.mark.parametrize("name", READERS)
def test_a_missing_or_wrong_folder_is_named_with_what_belongs_there(tmp_path, name):
    with pytest.raises(DataError, match=r"does not exist.*download") as caught:
        open_dataset(name, tmp_path / "nowhere", sampling_rate_hz=500)
    assert "nowhere" in str(caught.value)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"photos (has no|holds no) .*download"):
        open_dataset(name, tmp_path / "photos", sampling_rate_hz=500)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "ptbxl", "data_root": "x"}, "dataset 'ptbxl' is not known; choose one of simulated, ptb-xl"),
        ({"name": "ptb-xl"}, "needs data_root.*download"),
        ({"name": "csn", "data_root": "x", "n": 0}, "n=0"),
        ({"name": "csn", "data_root": "x", "cohort": "csn"}, "cohort"),
        ({"name": "simulated", "data_root": "x", "n": 3}, "data_root given with dataset 'simulated'"),
        ({"name": "simulated"}, "give n"),
        ({"name": "simulated", "n": 3, "cohort": "mars"}, "cohort 'mars' is not known"),
    ],
)
def test_impossible_calls_are_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        open_dataset(**call, sampling_rate_hz=500)


def test_downloading_without_a_network_says_what_to_do(tmp_path):
    import socket
    from importlib import import_module

    try:
        socket.create_connection(("physionet.org", 443), timeout=3).close()
    except OSError:
        pass
    else:
        pytest.skip("PhysioNet can be reached from here: nothing fails")
    for module, _ in READERS.values():
        with pytest.raises(DataError, match=r"could not be fetched.*https://physionet.org/content/.*data_root"):
            import_module(f"ecglib.data.{module}").download(tmp_path / "d")
