"""Fitting noise: planted sizes come back, and only signals are read."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb

import ecglib.calibration.noise_fit as noise_fit
from ecglib.calibration.measures import BANDS_HZ, measure_noise
from ecglib.data.synthetic.noise import TABLE, Ward, ward_of, wards
from ecglib.errors import DataError, SignalError
from ecglib.signals import LEADS


@pytest.fixture(scope="module")
def hearts():
    return noise_fit.simulated_hearts("ptb-xl", noise_fit.HEARTS)


def test_planted_sizes_come_back(hearts):
    """From a start twice or half the truth: muscle of the arms, wander and its chest factor within 30 %.

    Wander is planted large: below 10 uV the heart's own slow waves hide it.
    """
    ward = ward_of("ptb-xl")
    truth = replace(ward.sizes, wander_uv=40.0, burst=0.0, step=0.0, rail=0.0, flat=0.0, storage_uv=10.0)
    one = {next(iter(ward.shares)): 1.0}
    real = measure_noise(noise_fit.recorded(hearts, Ward(truth, one))[0], 500)
    start = replace(
        truth,
        muscle_uv=2 * truth.muscle_uv,
        wander_uv=0.5 * truth.wander_uv,
        wander_chest=0.5 * truth.wander_chest,
        storage_uv=20.0,
    )
    found = noise_fit.fit(real, hearts, Ward(start, one), rounds=6, shares=False).sizes
    arm, true_arm = (s.muscle_uv * s.muscle_arm for s in (found, truth))
    assert arm == pytest.approx(true_arm, rel=0.3)
    assert found.wander_uv == pytest.approx(truth.wander_uv, rel=0.3)
    assert found.wander_chest == pytest.approx(truth.wander_chest, rel=0.3)
    assert found.storage_uv == pytest.approx(10.0, rel=0.3)


def test_planted_shares_of_recorders_come_back(hearts):
    sizes = ward_of("csn").sizes
    planted = Ward(sizes, {"cart-40-hz": 0.7, "cart-diagnostic": 0.3})
    ecg, makes = noise_fit.recorded(hearts, planted)
    found = noise_fit.fit_shares(
        measure_noise(ecg, 500), hearts, replace(planted, shares=dict.fromkeys(planted.shares, 0.5))
    )
    assert abs(found.shares["cart-40-hz"] - makes.count("cart-40-hz") / len(makes)) < 0.15
    assert sum(found.shares.values()) == pytest.approx(1)


def test_a_fit_is_deterministic(hearts):
    few = hearts[:20]
    real = measure_noise(noise_fit.recorded(few, ward_of("csn"))[0], 500)
    first, second = (noise_fit.fit(real, few, ward_of("ptb-xl"), rounds=1, shares=False) for _ in range(2))
    assert first == second


def test_band_powers_of_known_noise():
    """White noise of 20 uV: each band holds its share of the power, in quiet windows a little less."""
    ecg = 0.02 * np.random.default_rng(0).standard_normal((20, 12, 5000)).astype(np.float32)
    measures = measure_noise(ecg, 500)
    for b, (low, high) in enumerate(BANDS_HZ):
        expected = np.log10(0.02**2 * (high - low) / 250)
        assert np.median(measures.whole[..., b]) == pytest.approx(expected, abs=0.05)
        assert np.median(measures.quiet[..., b]) < np.median(measures.whole[..., b]) < np.median(measures.loud[..., b])
    assert abs(np.median(measures.lines)) < 0.1
    ecg += 0.05 * np.sin(2 * np.pi * 50 * np.arange(5000) / 500).astype(np.float32)
    assert np.median(measure_noise(ecg, 500).lines[..., 0]) > 2
    with pytest.raises(SignalError, match="490 Hz"):
        measure_noise(ecg, 100)


def test_the_table_is_written_as_it_is_read(tmp_path):
    table = wards()
    path = tmp_path / "noise.toml"
    path.write_text(noise_fit.table_text(table, dict.fromkeys(table, "a test")), encoding="utf-8")
    assert wards(path) == table
    assert noise_fit.notes_of(path) == dict.fromkeys(table, "a test")


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no WFDB record"):
        noise_fit.read_signals(tmp_path)


def test_a_folder_with_too_few_whole_records_is_refused(tmp_path):
    """A short one and one of a Holter's two leads do not count, and the latter does no harm."""
    for name, seconds, leads in (("long", 10, LEADS), ("short", 8, LEADS), ("holter", 10, ("MLII", "V5"))):
        n, wave = len(leads), np.sin(np.arange(500 * seconds)[:, None] / 80 + np.arange(len(leads)))
        wfdb.wrsamp(name, 500, ["mV"] * n, list(leads), p_signal=wave, fmt=["16"] * n, write_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"1 usable.*5 needed"):
        noise_fit.read_signals(tmp_path)


def test_only_signals_are_read():
    """Neither a table nor a comment of a header: nothing a label could stand in."""
    for path in Path(noise_fit.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
        tables = {"read_csv", "read_table", "read_parquet", "pandas"}
        assert not names & (tables | {"comment", "comments", "findings_to_labels", "ptbxl", "csn"})


def test_real_signals_are_read_and_fingerprinted(real_data):
    signals, fingerprint = noise_fit.read_signals(real_data("ptbxl_subset") / "records500")
    assert signals.shape == (333, 12, 5000)
    assert len(fingerprint) == 16
    text = (Path(noise_fit.noise.TABLE)).read_text(encoding="utf-8")
    assert f"fingerprint {fingerprint}" in text


def test_a_new_fit_keeps_what_the_file_says_of_where_its_numbers_come_from():
    now = TABLE.read_text(encoding="utf-8").splitlines()
    again = noise_fit.table_text(wards(), noise_fit.notes_of(TABLE)).splitlines()
    assert [line for line in again if line[:1] == "#"] == [line for line in now if line[:1] == "#"]
