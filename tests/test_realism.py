"""Comparison of two sets of ECGs: alike is called alike, a planted difference is found and named."""

import numpy as np
import pandas as pd
import pytest

from ecglib import realism
from ecglib.data import open_dataset
from ecglib.data.store import write_store
from ecglib.data.synthetic import simulate_record, simulate_store
from ecglib.errors import ParameterError
from ecglib.realism_features import AXES, BANDS_HZ, FAST_BANDS_HZ, features_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def normal_table(n, seed, prefix="p", two_per_patient=False):
    """Records whose measurements are independent standard normal numbers."""
    rng = np.random.default_rng(seed)
    names = [*AXES, *realism.GROUPS["everything"]]
    table = pd.DataFrame(rng.standard_normal((n, len(names))), columns=names)
    owner = np.arange(n) // (2 if two_per_patient else 1)
    return table.assign(id=[f"{prefix}{i}" for i in range(n)], patient=[f"{prefix}{o}" for o in owner], failed="",
                        weight=1.0)  # fmt: skip


def test_two_halves_of_one_cohort_cannot_be_told_apart(tmp_path):
    store = simulate_store(tmp_path / "s", "ptb-xl", 960, seed=5, sampling_rate_hz=500)
    table = realism.measurements(store)
    half = np.array([int(p.rsplit("-", 1)[1]) % 2 == 0 for p in table["patient"]])  # whole patients on either side
    for group in ("intervals", "T"):
        found = realism.two_sample_auc(table[half], table[~half], group)
        assert found.ci_low < 50 < found.ci_high, group
        assert 35 < found.auc < 65


@pytest.mark.parametrize("planted", ["qrs_ms", "r_mv_V5", "noise_chest"])
def test_a_planted_shift_is_found_and_named_first(planted):
    real, simulated = normal_table(200, 0, "r"), normal_table(200, 1, "s")
    simulated[planted] += 1.5
    group = next(name for name, features in realism.GROUPS.items() if planted in features)
    found = realism.two_sample_auc(real, simulated, group)
    assert found.ci_low > 70
    assert found.importances["feature"][0] == planted
    assert found.importances["loss"][0] > 5 * found.importances["loss"][1:].max()
    assert found.importances["single"][0] == pytest.approx(86, abs=5)  # Phi(1.5 / sqrt 2)
    assert realism.two_sample_auc(real, simulated, "axes").ci_low < 50
    assert realism.distances(real, simulated)["feature"][0] == planted


def test_missing_values_tell_and_are_counted():
    real, simulated = normal_table(200, 0, "r"), normal_table(200, 1, "s")
    simulated.loc[::2, "pr_ms"] = np.nan
    found = realism.two_sample_auc(real, simulated, "intervals")
    assert found.importances["feature"][0] == "pr_ms"
    row = realism.distances(real, simulated, ["pr_ms"]).iloc[0]
    assert (row["missing real"], row["missing simulated"]) == (0, 0.5)
    simulated.loc[:19, "failed"] = "0 whole beats were found"
    counted = realism.two_sample_auc(real, simulated, "intervals")
    assert (counted.n_simulated, counted.failed_simulated, counted.failed_real) == (180, 20, 0)
    assert len(realism.measurable(simulated, "spectrum")) == 200


def test_records_of_one_patient_are_never_on_both_sides_of_a_fold():
    """Each patient has two equal records and a side by lot: only who has seen the twin can tell the side."""
    twins = normal_table(400, 0, two_per_patient=True)
    features = list(features_of("intervals"))
    twins.loc[1::2, features] = twins.loc[::2, features].to_numpy()
    side = np.repeat(np.random.default_rng(1).random(200) < 0.5, 2)
    found = realism.two_sample_auc(twins[side], twins[~side], "intervals")
    assert found.ci_low < 50


def test_sides_of_unequal_size_have_equal_weight():
    found = realism.two_sample_auc(normal_table(60, 0, "r"), normal_table(900, 1, "s"), "axes")
    assert found.ci_low < 50 < found.ci_high


def test_too_few_patients_are_refused():
    with pytest.raises(ParameterError, match="9 patients on the real side"):
        realism.two_sample_auc(normal_table(9, 0), normal_table(50, 1), "axes")
    with pytest.raises(ParameterError, match="choose one of intervals"):
        realism.two_sample_auc(normal_table(20, 0), normal_table(20, 1), "waves")


def test_distance_counts_in_interquartile_ranges():
    real, simulated = normal_table(4000, 0), normal_table(4000, 1)
    simulated["rate_bpm"] = real["rate_bpm"] + 2.7  # the interquartile range of a normal distribution is 1.349
    row = realism.distances(real, simulated, ["rate_bpm"]).iloc[0]
    assert row["distance"] == pytest.approx(2.0, abs=0.05)
    assert row["simulated 50 %"] - row["real 50 %"] == pytest.approx(2.7)
    assert row["real 5 %"] == pytest.approx(-1.645, abs=0.1)


def test_axes_are_compared_the_short_way_round():
    real, simulated = normal_table(500, 0), normal_table(500, 1)
    real["axis_deg"] = 178 + real["axis_deg"]
    simulated["axis_deg"] = (simulated["axis_deg"] - 178 + 180) % 360 - 180  # 4 degrees on, beyond 180
    row = realism.distances(real, simulated, ["axis_deg"]).iloc[0]
    assert row["simulated 50 %"] - row["real 50 %"] == pytest.approx(4, abs=0.3)


def test_weights_give_the_other_sets_mixture():
    simulated = normal_table(100, 0)
    classes = [["NORM"]] * 50 + [["MI"]] * 30 + [["MI", "CD"]] * 20
    wanted = [["NORM"]] * 6 + [["CD", "MI"]] * 3 + [["HYP"]] * 1
    weighted, lost = realism.weigh(simulated, classes, wanted)
    assert lost == pytest.approx(0.1)
    share = weighted["weight"].groupby([" ".join(some) for some in classes]).sum() / weighted["weight"].sum()
    assert share.to_dict() == pytest.approx({"NORM": 6 / 9, "MI": 0, "MI CD": 3 / 9})
    assert weighted["weight"].sum() == pytest.approx(100)
    with pytest.raises(ParameterError, match="no record"):
        realism.weigh(simulated, classes, [["HYP"]])


def test_weights_count_in_the_comparison():
    """A population that differs only by its mixture is alike once it is weighted."""
    real, simulated = normal_table(400, 0, "r"), normal_table(400, 1, "s")
    real.loc[:99, "qrs_ms"] += 4
    simulated.loc[:299, "qrs_ms"] += 4
    plain = realism.two_sample_auc(real, simulated, "intervals")
    weighted, _ = realism.weigh(simulated, [["CD"]] * 300 + [["NORM"]] * 100, [["CD"]] * 100 + [["NORM"]] * 300)
    even = realism.two_sample_auc(real, weighted, "intervals")
    assert plain.ci_low > 60
    assert even.ci_low < 50 < even.ci_high
    far = realism.distances(real, simulated, ["qrs_ms"])["distance"][0]
    assert realism.distances(real, weighted, ["qrs_ms"])["distance"][0] < 0.2 * far


def test_measurements_of_records_that_fail_stay_in_the_table():
    ecgs = np.stack([simulate_record("ptb-xl", 1, i).ecg_mv for i in range(3)])
    ecgs[1] = 0.0
    table = realism.measurements(ecgs, 500)
    assert table["failed"].tolist()[::2] == ["", ""]
    assert "beats" in table["failed"][1]
    assert table.loc[1, list(realism.GROUPS["everything"])].isna().all()
    assert table.loc[[0, 2], "qrs_ms"].between(60, 200).all()
    np.testing.assert_allclose(table["sin_axis_deg"], np.sin(np.radians(table["axis_deg"])))
    assert set(realism.GROUPS["everything"]) <= set(table.columns)
    with pytest.raises(ParameterError, match="hz"):
        realism.measurements(ecgs)


def test_a_sine_lies_in_its_band_and_noise_between_beats_is_measured():
    ecg = simulate_record("ptb-xl", 1, 0).ecg_mv.astype(float)
    t = np.arange(ecg.shape[1]) / 500
    for band in (*BANDS_HZ[1:], *FAST_BANDS_HZ):
        ecgs = np.stack([ecg, ecg + 3.0 * np.sin(2 * np.pi * np.mean(band) * t)])
        table = realism.measurements(ecgs, 500)
        power = table[[f"power_V2_{low:g}_{high:g}" for low, high in (*BANDS_HZ, *FAST_BANDS_HZ)]]
        assert power.iloc[1].idxmax() == f"power_V2_{band[0]:g}_{band[1]:g}"
    noise = np.random.default_rng(0).normal(0, 0.1, ecg.shape)
    quiet = realism.measurements(np.stack([0 * noise, noise]), 500)
    assert np.isnan(quiet["noise_limb"][0])
    assert 10 ** quiet["noise_limb"][1] == pytest.approx(0.1 * np.sqrt(80 / 250), rel=0.1)
    assert quiet["power_I_100_150"].notna()[1]
    assert realism.measurements(noise[None, :, ::5], 100)["power_I_100_150"].isna().all()


def test_the_padding_of_short_records_is_not_measured(tmp_path):
    ecg = simulate_record("ptb-xl", 1, 0).ecg_mv
    padded = ecg.copy()
    padded[:, 3500:] = 0
    records = pd.DataFrame({"id": ["a", "b"], "patient": ["1", "2"], "duration_s": [7.0, 10.0]})
    table = realism.measurements(write_store(tmp_path / "s", 500, np.stack([padded, padded]), records))
    cut = realism.measurements(ecg[None, :, :3500], 500)
    assert table["power_II_0.05_0.5"][0] == pytest.approx(cut["power_II_0.05_0.5"][0], abs=0.01)
    assert abs(table["power_II_0.05_0.5"][1] - cut["power_II_0.05_0.5"][0]) > 0.01


def test_the_table_of_a_store_is_kept_and_the_same_for_any_number_of_workers(tmp_path, cache):
    store = simulate_store(tmp_path / "s", "csn", 110, seed=1, sampling_rate_hz=500)
    first = realism.measurements(store, workers=2)
    (kept,) = (cache / "measurements").iterdir()
    written = kept.stat().st_mtime_ns
    pd.testing.assert_frame_equal(realism.measurements(store), first)
    assert kept.stat().st_mtime_ns == written
    kept.unlink()
    pd.testing.assert_frame_equal(realism.measurements(store, workers=1), first)
    view = store.select([3, 1])
    pd.testing.assert_frame_equal(realism.measurements(view), first.iloc[[3, 1]].reset_index(drop=True))


def test_every_measurement_has_a_name_to_say():
    assert realism.spoken("r_mv_V5") == "R in V5 (mV)"
    assert realism.spoken("power_V1_0.05_0.5") == "power 0.05 to 0.5 Hz in V1"
    assert realism.spoken("sin_t_axis_deg") == "sin of T axis (degrees)"
    assert all(realism.spoken(name) != name for name in (*AXES, *realism.GROUPS["everything"]))


def test_real_records_are_measured_and_none_is_lost(real_data):
    store = open_dataset("ptb-xl", real_data("ptbxl_subset"), sampling_rate_hz=500)
    table = realism.measurements(store)
    assert table["id"].tolist() == store.records["id"].tolist()
    assert (table["failed"] != "").mean() < 0.02
    assert 85 < table["qrs_ms"].median() < 105
    assert table["power_V5_70_100"].notna().all()
