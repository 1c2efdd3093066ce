"""Comparison of methods: equal terms, planted differences found, noise called noise."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from torch import nn

from ecglib import comparison, papers, pretrain
from ecglib.chapters import side_by_side
from ecglib.errors import ResultError
from ecglib.paths import project_root


def table(values: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "dataset": comparison.AVERAGE, "value": value}
            for method, of_seeds in values.items()
            for seed, value in enumerate(of_seeds)
        ]
    )


def test_a_planted_difference_is_found_and_noise_is_not():
    """Seeds differ by points, the same for all methods; 'good' is 3 above, 'same' differs by chance alone."""
    rng = np.random.default_rng(0)
    luck = rng.normal(80, 3, size=5)
    found = comparison.differences(
        table({
            "base": list(luck),
            "same": list(luck + rng.normal(0, 0.3, 5)),
            "good": list(luck + 3 + rng.normal(0, 0.3, 5)),
            "chance": [50.0] * 5,
        })
    )  # fmt: skip
    verdicts = {frozenset((r.method, r.beside)): r.verdict for r in found.itertuples()}
    assert verdicts[frozenset(("good", "base"))] == verdicts[frozenset(("good", "same"))] == "above"
    assert verdicts[frozenset(("base", "same"))] == "not significant"
    assert len(found) == 3  # chance takes no part
    words = comparison.in_words(found, {"base": "Base", "same": "Same", "good": "Good"})
    assert "Good is above Base by" in words
    assert "1 of 3 differences are not significant at 5 %" in words


def test_interval_is_student_t():
    values = np.array([80.0, 82.0, 87.0])
    (row,) = comparison.over_seeds(table({"a": list(values)})).to_dict("records")
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (row["value"], row["ci_low"], row["ci_high"], row["n"]) == pytest.approx((values.mean(), low, high, 3))


def test_false_alarms_are_kept_to_five_in_a_hundred():
    """Six methods that are all the same: some of fifteen pairs is called different in few of 200 families."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        found = comparison.differences(table({name: list(rng.normal(80, 1, 3)) for name in "abcdef"}))
        alarms += (found["verdict"] == "above").any()
    assert alarms / 200 < 0.10


def test_sizes_that_differ_by_more_than_fifteen_percent_are_named():
    assert comparison.unequal_sizes({"A": 1_000_000, "B": 1_150_000, "C": 1_100_000}) == ""
    problem = comparison.unequal_sizes({"A": 1_000_000, "B": 1_160_000, "C": 1_100_000})
    assert problem.startswith("the ECG encoder of B has 1,160,000 parameters, 16 % more than that of A with 1,000,000")


def test_the_demo_networks_are_of_one_size():
    side_by_side.check_sizes(papers.stems(), "demo")


def test_a_demo_network_of_another_size_is_refused_and_a_full_one_is_named(monkeypatch, capsys):
    def build(stem: str, profile: str, seed: int):
        return SimpleNamespace(ecg_encoder=nn.Linear({"deri": 10, "k_merl": 20}[stem], 10, bias=False))

    monkeypatch.setattr(pretrain, "build_model", build)
    with pytest.raises(ResultError, match=r"profile demo: .* K-MERL has 200 parameters, 100 % more .* demo_config"):
        side_by_side.check_sizes(["deri", "k_merl"], "demo")
    side_by_side.check_sizes(["deri", "k_merl"], "gpu")
    assert "Profile gpu compares the papers' own networks, not networks of one size: " in capsys.readouterr().out


def test_holm_by_hand():
    np.testing.assert_allclose(comparison.holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(comparison.holm(np.array([0.6, 0.7])), [1.0, 1.0])


def test_two_seeds_are_too_few():
    with pytest.raises(ResultError, match="2 seeds have all methods; three are the least"):
        comparison.differences(table({"a": [1.0, 2.0], "b": [2.0, 3.0]}))


@pytest.fixture
def records(tmp_path):
    """Two notebooks, two seeds, made from a real record."""
    (newest,) = sorted((project_root() / "results/runs/deri_zero_shot").glob("*.json"))[-1:]
    for stem in ("deri", "merl"):
        for seed in (0, 1):
            record = json.loads(newest.read_text(encoding="utf-8"))
            own = [m | {"method": stem if m["method"] == "deri" else m["method"]} for m in record["metrics"]]
            record |= {"notebook": f"{stem}_zero_shot", "run_id": record["run_id"][:-2] + f"{seed}{stem[0]}"[:2]}
            record |= {"metrics": own, "predictions": None, "seed": seed}
            record["run_id"] = f"20260102T03040{seed}Z-00beef"
            record["parameters"]["seed"] = seed
            path = tmp_path / "runs" / record["notebook"] / f"{record['run_id']}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record), encoding="utf-8")
    return tmp_path


def test_records_are_found_by_seed_and_parameters(records):
    names = ("deri_zero_shot", "merl_zero_shot")
    found = comparison.find_records(names, (0, 1, 2), records, profile="demo")
    assert sorted(found) == [(name, seed) for name in names for seed in (0, 1)]
    assert comparison.find_records(names, (0, 1), records, profile="gpu") == {}
    comparison.check_equal(found)
    setting = found["deri_zero_shot", 0]["metrics"][0]["setting"]
    scored = comparison.scores(found, dict.fromkeys(names, setting))
    assert set(scored["method"]) == {"deri", "merl", "random-encoder", "chance"}
    assert not scored.duplicated(["method", "seed", "dataset"]).any()
    of_deri = scored[(scored["method"] == "deri") & (scored["seed"] == 0)].set_index("dataset")["value"]
    assert of_deri[comparison.AVERAGE] == pytest.approx(of_deri.drop(comparison.AVERAGE).mean())


def test_unequal_terms_are_refused(records):
    found = comparison.find_records(("deri_zero_shot", "merl_zero_shot"), (0, 1), records)
    found["merl_zero_shot", 1]["config"]["training"]["steps"] += 1
    with pytest.raises(ResultError, match=r"seed 1: .* differ in pairs seen"):
        comparison.check_equal(found)
    half = found["deri_zero_shot", 1]["config"]["training"]["steps"] // 2
    found["merl_zero_shot", 1]["config"]["training"] |= {"steps": half, "steps_before": half}  # two stages
    comparison.check_equal(found)
    training = found["merl_zero_shot", 1]["config"]["training"]
    kept = dict(training)
    training |= {"steps": 2 * half, "steps_before": 2 * half, "effective_batch": training["effective_batch"] // 2}
    with pytest.raises(ResultError, match=r"seed 1: .* differ in steps"):  # as many pairs in smaller steps
        comparison.check_equal(found)
    training |= kept
    found["deri_zero_shot", 0]["data"]["pretrain"]["fingerprint"] = "other"
    with pytest.raises(ResultError, match=r"seed 0: .* differ in data of pretrain"):
        comparison.check_equal(found)
