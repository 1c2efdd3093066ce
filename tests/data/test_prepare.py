"""Preparation: one bad record never stops it, a kill never costs more than a chunk, workers change nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from wfdb_files import heartbeat

from ecglib.data.one_record import prepare_record
from ecglib.data.prepare import CHUNK_RECORDS, prepare
from ecglib.errors import SignalError, StoreError


class Beats:
    """n cheap records; ``bad`` ones raise or hand out rubbish."""

    name = "beats"
    version = 1

    def __init__(self, root: Path, n: int, bad: dict[int, str] | None = None, pause_s: float = 0.0):
        self.root, self.n, self.bad, self.pause_s = root, n, bad or {}, pause_s

    def rows(self):
        return pd.DataFrame(
            {"id": [f"r{i}" for i in range(self.n)], "_number": range(self.n), "report": ["ok"] * self.n}
        )

    def read(self, row):
        time.sleep(self.pause_s)
        number = row["_number"]
        what = self.bad.get(number)
        if what == "raises":
            raise OSError(5, "the disk says no")
        hz = 20.0
        ecg = np.tile(np.sin(np.arange(200) + number), (12, 1)) * [[1], [1], [0], [-1], [0.5], [0.5], *[[1]] * 6]
        if what == "nan":
            ecg[:] = np.nan
        return ecg, hz

    def card(self):
        return {"licence": "none"}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_one_broken_record_of_5000_is_quarantined_with_its_reason(tmp_path):
    store = prepare(Beats(tmp_path, 5000, {4321: "raises"}), tmp_path / "s", sampling_rate_hz=20, workers=1)
    assert len(store) == 4999
    assert store.card["quarantined"] == [{"id": "r4321", "reason": "OSError: [Errno 5] the disk says no"}]
    assert "r4321" not in set(store.records["id"])
    at = store.records["id"].tolist().index("r4322")
    np.testing.assert_allclose(store.read([at])[0, 0], np.sin(np.arange(200) + 4322), atol=6e-4)
    assert "_number" not in store.records.columns
    store.verify()


def test_nothing_but_broken_records_is_an_error_that_gives_the_reason(tmp_path):
    source = Beats(tmp_path, 3, {0: "nan", 1: "nan", 2: "raises"})
    with pytest.raises(StoreError, match=r"none of the 3 records of beats.*r0: 2400 of 2400 samples are missing"):
        prepare(source, tmp_path / "s", sampling_rate_hz=20, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [".s.lock"]


def test_no_record_at_all(tmp_path):
    with pytest.raises(StoreError, match="names no record"):
        prepare(Beats(tmp_path, 0), tmp_path / "s", sampling_rate_hz=20)


def test_the_source_folder_vanishing_is_no_reason_to_quarantine_everything(tmp_path):
    (tmp_path / "disk").mkdir()
    source = Beats(tmp_path / "disk", 3, {1: "raises"})
    (tmp_path / "disk").rmdir()
    with pytest.raises(StoreError, match="is gone; bring it back"):
        prepare(source, tmp_path / "s", sampling_rate_hz=20, workers=1)


def test_a_doubled_id_is_kept_once_and_told(tmp_path):
    class Doubled(Beats):
        def rows(self):
            rows = super().rows()
            rows.loc[2, "id"] = "r0"
            return rows

    store = prepare(Doubled(tmp_path, 4), tmp_path / "s", sampling_rate_hz=20, workers=1)
    assert store.records["id"].tolist() == ["r0", "r1", "r3"]
    assert store.card["quarantined"][0]["id"] == "r0"
    assert "more than once" in store.card["quarantined"][0]["reason"]


def test_the_number_of_workers_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("ecglib.data.prepare.ALONE_S", 0)
    source = Beats(tmp_path, 3 * CHUNK_RECORDS, {5: "nan", 100: "raises"})
    one = prepare(source, tmp_path / "a" / "s", sampling_rate_hz=20, workers=1)
    two = prepare(source, tmp_path / "b" / "s", sampling_rate_hz=20, workers=2)
    assert files(one.folder) == files(two.folder)


def test_prepared_once_opened_ever_after(tmp_path):
    first = prepare(Beats(tmp_path, 3), tmp_path / "s", sampling_rate_hz=20)
    # A source that could not be read any more: only the finished store can answer.
    again = prepare(Beats(tmp_path, 3, dict.fromkeys(range(3), "raises")), tmp_path / "s", sampling_rate_hz=20)
    assert again.fingerprint == first.fingerprint
    other = prepare(Beats(tmp_path, 3), tmp_path / "s", sampling_rate_hz=40)
    assert other.sampling_rate_hz == 40


def test_a_damaged_or_foreign_store_is_made_again(tmp_path):
    store = prepare(Beats(tmp_path, 3), tmp_path / "s", sampling_rate_hz=20)
    before = files(store.folder)
    card = json.loads((store.folder / "card.json").read_text())
    (store.folder / "card.json").write_text(json.dumps(card | {"store_version": 0}))
    prepare(Beats(tmp_path, 3), tmp_path / "s", sampling_rate_hz=20)
    assert files(store.folder) == before


def test_a_limit_takes_the_first_or_a_seeded_choice(tmp_path):
    source = Beats(tmp_path, 50)
    first = prepare(source, tmp_path / "a", sampling_rate_hz=20, limit=5)
    assert first.records["id"].tolist() == ["r0", "r1", "r2", "r3", "r4"]
    chosen = [
        prepare(source, tmp_path / f"c{i}", sampling_rate_hz=20, limit=5, seed=seed).records["id"].tolist()
        for i, seed in enumerate((1, 1, 2))
    ]
    assert chosen[0] == chosen[1] != chosen[2]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_prepare import Beats
from ecglib.data import prepare as module
module.ALONE_S = 0
from ecglib.data.prepare import prepare
if __name__ == "__main__":
    source = Beats(Path({root!r}), 640, {{7: "nan", 300: "raises"}}, 0.001)
    prepare(source, {folder!r}, sampling_rate_hz=20, workers={workers})
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_preparation_goes_on_to_the_same_bytes(tmp_path, workers):
    """SIGKILL between chunks, again and again; the store is that of a run never killed, and no worker stays."""
    here = str(Path(__file__).parent)
    whole = prepare(Beats(tmp_path, 640, {7: "nan", 300: "raises"}), tmp_path / "w", sampling_rate_hz=20, workers=1)
    folder = tmp_path / "k" / "s"
    building = folder.parent / ".s.building"
    script = tmp_path / "run.py"
    script.write_text(KILLED.format(here=here, root=str(tmp_path), folder=str(folder), workers=workers))
    done, kills = 0, 0
    for _ in range(20):
        process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
        while process.poll() is None and len(list(building.glob("*.json"))) < done + 2:
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        deadline = time.monotonic() + 10
        while _alive_in_session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive_in_session(process.pid), "workers outlive the killed run"
        done = len(list(building.glob("*.json")))
        if folder.exists() or kills >= 3 - workers:
            break
    assert kills >= 1
    store = prepare(Beats(tmp_path, 640, {7: "nan", 300: "raises"}), folder, sampling_rate_hz=20, workers=1)
    assert files(store.folder) == files(whole.folder)
    assert not building.exists()


def _alive_in_session(session: int) -> list[int]:
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            alive.append(int(stat.parent.name))
    return alive


@pytest.mark.parametrize("at", [1, 3])
def test_killed_while_joining_the_chunks(tmp_path, monkeypatch, at):
    """The end of a preparation moves chunks into one file; stopping there must lose nothing either."""
    source = Beats(tmp_path, 4 * CHUNK_RECORDS, {9: "raises"})
    whole = prepare(source, tmp_path / "w", sampling_rate_hz=20, workers=1)
    unlink, calls = Path.unlink, []

    def stop(path, *args, **kwargs):
        if path.suffix == ".i16":
            calls.append(path)
            if len(calls) == at:
                raise KeyboardInterrupt  # as good as a kill: nothing after this line runs
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "k", sampling_rate_hz=20, workers=1)
    monkeypatch.undo()
    assert files(prepare(source, tmp_path / "k", sampling_rate_hz=20, workers=1).folder) == files(whole.folder)


# one record --------------------------------------------------------------------------------------------------


def test_a_record_at_another_rate_is_resampled_and_fits():
    for hz in (100, 250, 400, 500, 1000):
        steps, facts, warned = prepare_record(heartbeat(hz), hz, 500, 5000)
        assert steps.shape == (12, 5000)
        assert facts["duration_s"] == 10
        assert warned == []
        np.testing.assert_allclose(steps[:, 500:-500] / 1000, heartbeat(500)[:, 500:-500], atol=0.02)


def test_six_seconds_are_padded_and_sixty_cut():
    steps, facts, warned = prepare_record(heartbeat(500, 6), 500, 500, 5000)
    assert (facts["duration_s"], warned) == (6.0, ["shorter, padded with zeros"])
    assert not steps[:, 3000:].any()
    assert steps[:, 2999].any()
    for to_hz in (500, 250):
        steps, facts, warned = prepare_record(heartbeat(500, 60), 500, to_hz, 10 * to_hz)
        assert (facts["duration_s"], warned) == (60.0, ["longer, start kept"])
        np.testing.assert_allclose(steps / 1000, heartbeat(to_hz, 60)[:, : 10 * to_hz], atol=0.02)


def test_gaps_are_filled_and_counted():
    ecg = heartbeat()
    ecg[2, 100:200] = np.nan
    ecg[5, 7] = np.inf
    _, facts, warned = prepare_record(ecg, 500, 500, 5000)
    assert facts["filled_samples"] == 101
    assert "missing samples interpolated" in warned


def test_flat_leads_are_kept_and_named():
    ecg = heartbeat()
    ecg[7] = 0.2
    ecg[9] = np.nan
    _, facts, warned = prepare_record(ecg, 500, 500, 5000)
    assert facts["flat_leads"] == ["V2", "V4"]
    assert "flat leads" in warned


def test_exchanged_limb_leads_are_kept_with_a_warning():
    ecg = heartbeat()
    ecg[[0, 1]] = ecg[[1, 0]]
    assert prepare_record(ecg, 500, 500, 5000)[2] == ["limb leads do not add up"]


def test_samples_beyond_the_range_are_clipped_with_a_warning():
    ecg = heartbeat()
    ecg[8, 100:110] = 40
    steps, _, warned = prepare_record(ecg, 500, 500, 5000)
    assert steps[8].max() == 32767
    assert "samples clipped at 32.767 mV" in warned


@pytest.mark.parametrize(
    ("ecg", "hz", "message"),
    [
        (heartbeat(500, 4), 500, "short: 4.00 s"),
        (np.zeros((12, 5000)), 500, "all leads are flat"),
        (heartbeat() / 1e6, 500, "all leads are flat"),
        (heartbeat() * 1000, 500, "wrong gain or unit"),
        (np.full((12, 5000), np.nan), 500, "60000 of 60000 samples are missing"),
        (heartbeat()[:11], 500, "shape"),
        (heartbeat(), 0, "sampling rate 0"),
        (heartbeat()[:, :0], 500, "short"),
    ],
)
def test_a_record_of_no_use_says_why(ecg, hz, message):
    with pytest.raises(SignalError, match=message):
        prepare_record(ecg, hz, 500, 5000)
