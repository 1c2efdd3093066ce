"""A tiny reader: what it scores, how it is kept, and that its curves are those of logistic regression."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from ecglib import probability
from ecglib.answers import answers
from ecglib.chapters.training_a_reader import recipe_of
from ecglib.data.any_file import read_ecg
from ecglib.data.labels import FINDINGS, SCP_CODES, findings_to_labels
from ecglib.data.synthetic import simulate_record
from ecglib.errors import CheckpointError, ParameterError, SignalError
from ecglib.paths import sha256_of
from ecglib.reader import Reader, windows
from ecglib.recipes import RECIPES, get_recipe
from ecglib.statements import SUPERCLASSES, any_of_its_statements, prompts_hash, shown, superclass_members
from ecglib.train_reader import train_reader

TINY = dataclasses.replace(RECIPES["demo"], n_records=96, epochs=1, n_calibration=400)


def trained(folder):
    return train_reader(TINY, 0, folder / "work", folder / "reader", text_encoder="random:minilm", report=None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECGLIB_CACHE", str(folder / "cache"))
        yield folder, trained(folder)


@pytest.fixture(scope="module")
def ecgs():
    return np.stack([simulate_record("ptb-xl", 8, i, 100, 10.0).ecg_mv for i in range(6)])


# What it scores


def test_a_saved_reader_scores_the_same(tiny, ecgs):
    folder, made = tiny
    found = Reader.from_pretrained(folder / "reader")
    assert found.codes == made.reader.codes
    np.testing.assert_allclose(found.scores(ecgs, 100), made.reader.scores(ecgs, 100), atol=1e-6)
    np.testing.assert_allclose(found.superclasses(ecgs, 100), made.reader.superclasses(ecgs, 100), atol=1e-6)
    assert sum(path.stat().st_size for path in (folder / "reader").iterdir()) < 10e6
    assert not (folder / "work/training.safetensors").exists()


def test_its_scores_are_those_of_the_whole_model(tiny, ecgs):
    """Up to the rounding of the weights to float16."""
    _, made = tiny
    with torch.inference_mode():
        whole = made.model.eval().score(torch.from_numpy(ecgs), list(made.reader.prompts.values())).numpy()
    np.testing.assert_allclose(made.reader.scores(ecgs, 100), whole, atol=1e-3)
    unit = made.reader.vectors.norm(dim=1).numpy()
    np.testing.assert_allclose(unit, 1, atol=1e-5)


def test_training_again_gives_the_same_reader(tiny, tmp_path, ecgs):
    _, made = tiny
    again = trained(tmp_path).reader
    assert sha256_of(tmp_path / "reader/model.safetensors") == sha256_of(tiny[0] / "reader/model.safetensors")
    np.testing.assert_array_equal(again.probabilities(ecgs, 100), made.reader.probabilities(ecgs, 100))


def test_a_killed_run_goes_on_and_ends_alike(tiny, tmp_path, monkeypatch):
    """Killed after training, before anything was saved: the state is there and the second call calibrates from it."""
    from ecglib import train_reader as module

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "calibrate", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path)
    assert (tmp_path / "work/training.safetensors").is_file()
    assert not (tmp_path / "reader").exists()
    trained(tmp_path)
    assert sha256_of(tmp_path / "reader/model.safetensors") == sha256_of(tiny[0] / "reader/model.safetensors")


def test_a_long_record_is_the_mean_of_its_windows(tiny):
    reader = tiny[1].reader
    ecg = simulate_record("ptb-xl", 8, 40, 100, 23.0).ecg_mv[None]
    cut = windows(ecg, 1000)
    assert cut.shape == (1, 3, 12, 1000)
    np.testing.assert_array_equal(cut[0, 0], ecg[0, :, :1000])
    np.testing.assert_array_equal(cut[0, 1], ecg[0, :, 650:1650])
    np.testing.assert_array_equal(cut[0, 2], ecg[0, :, -1000:])
    mean = np.mean([reader.scores(cut[:, i], 100) for i in range(3)], axis=0)
    np.testing.assert_allclose(reader.scores(ecg, 100), mean, atol=1e-5)
    assert windows(ecg[..., :1000], 1000).shape == (1, 1, 12, 1000)
    assert windows(ecg[..., :1001], 1000).shape == (1, 2, 12, 1000)


@pytest.mark.parametrize("hz", [250, 360, 500, 1000])
def test_the_rate_hardly_matters(tiny, ecgs, hz):
    from ecglib.signals import resample

    reader = tiny[1].reader
    other = np.stack([resample(ecg, 100, hz) for ecg in ecgs])
    assert np.abs(reader.scores(other, hz) - reader.scores(ecgs, 100)).max() < 0.02


def test_short_records_are_read_as_they_are_or_refused(tiny, ecgs):
    reader = tiny[1].reader
    assert np.isfinite(reader.probabilities(ecgs[..., :250], 100)).all()
    padded = np.pad(ecgs[..., :250], ((0, 0), (0, 0), (0, 750)))
    assert np.abs(reader.scores(padded, 100) - reader.scores(ecgs[..., :250], 100)).max() > 1e-3
    with pytest.raises(SignalError, match=r"record 0 .*short: 2.49 s, less than 2.5 s"):
        reader.scores(ecgs[..., :249], 100)


def test_missing_samples_are_filled_and_too_many_refused(tiny, ecgs):
    reader = tiny[1].reader
    gap = ecgs.copy()
    gap[1, 3, 100:103] = np.nan
    scores = reader.scores(gap, 100)
    assert np.abs(scores - reader.scores(ecgs, 100)).max() < 0.02
    gap[1, :8] = np.nan
    with pytest.raises(SignalError, match=r"record 1 .*samples are missing"):
        reader.scores(gap, 100)
    with pytest.raises(SignalError, match="all leads are flat"):
        reader.scores(0 * ecgs, 100)
    with pytest.raises(SignalError, match="absurd"):
        reader.scores(1000 * ecgs, 100)
    with pytest.raises(SignalError, match="one as ecg_mv"):
        reader.scores(ecgs[0], 100)
    with pytest.raises(SignalError, match="sampling rate"):
        reader.scores(ecgs, 0)


def test_real_records_are_read_whatever_their_form(tiny, real_data):
    """Their signals alone: nothing is compared with a label. At 100 and at 500 Hz the same tracing says the same."""
    reader = tiny[1].reader
    slow = sorted(real_data("ptbxl_subset").rglob("*_lr.hea"))[::20]
    others = [*real_data("cinc2021_samples").rglob("*.hea"), *real_data("cpsc2018_original").glob("*.mat")]
    assert len(slow) > 10
    for path in slow:
        fast = Path(str(path).replace("records100", "records500").replace("_lr", "_hr"))
        pair = [reader.scores(ecg_mv[None], hz) for ecg_mv, hz, _ in map(read_ecg, (path, fast))]
        assert np.abs(pair[0] - pair[1]).max() < 0.15, path.name
    for path in others:
        ecg_mv, hz, _ = read_ecg(path)
        p = reader.probabilities(ecg_mv[None], hz)
        assert ((p > 0) & (p < 1)).all(), path.name


# How it is kept


def broken(folder, tmp_path, change):
    config = json.loads((folder / "reader/config.json").read_text())
    tensors = load_file(folder / "reader/model.safetensors")
    change(config, tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    if config["weights_sha256"] == "again":
        config["weights_sha256"] = sha256_of(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        Reader.from_pretrained(tmp_path)
    return str(caught.value)


def test_loading_is_strict(tiny, tmp_path):
    folder, _ = tiny
    again = {"weights_sha256": "again"}
    first = next(iter(load_file(folder / "reader/model.safetensors")))
    cases = {
        "damaged": lambda c, t: t.update({first: t[first] + 1}),
        "does not fit": lambda c, t: (c.update(again), t.pop("vectors")),
        "Unexpected key": lambda c, t: (c.update(again), t.update(more=t[first].clone())),
        "size mismatch": lambda c, t: (c.update(again), t.update(slope=t["slope"][1:].clone())),
        "prompts are not those": lambda c, t: c["prompts"]["NORM"].append("another"),
        "lacks calibration": lambda c, t: c.pop("calibration"),
        "another network": lambda c, t: c["config"].pop("width"),
        "no reader but": lambda c, t: c.pop("kind"),
        "format 7": lambda c, t: c.update(format=7),
    }
    for message, change in cases.items():
        found = broken(folder, tmp_path, change)
        assert message in found, found
    with pytest.raises(CheckpointError, match="no checkpoint"):
        Reader.from_pretrained(tmp_path / "gone")


def test_a_reader_without_curves_is_neither_saved_nor_asked(tiny, tmp_path, ecgs):
    made = tiny[1]
    bare = Reader.of(made.model, made.reader.prompts, 100, {})
    with pytest.raises(CheckpointError, match="not been calibrated"):
        bare.probabilities(ecgs, 100)
    with pytest.raises(CheckpointError, match="not been calibrated"):
        bare.save_pretrained(tmp_path / "reader")
    assert not (tmp_path / "reader").exists()


def test_what_made_it_is_named(tiny):
    folder, made = tiny
    about = json.loads((folder / "reader/config.json").read_text())
    assert about["training"]["data_kind"] == about["calibration"]["data_kind"] == "simulated"
    assert about["training"]["data"] == made.pairs.fingerprint != made.calibration.fingerprint
    assert "unlabelled" in about["training"]["population"]
    assert about["calibration"]["cohort"] == "ptb-xl"
    share = np.mean(["NORM" in found for found in made.calibration.records["findings"]])
    assert about["calibration"]["prevalence"]["NORM"] == pytest.approx(share, abs=1e-6)
    assert about["prompts_sha256"] == prompts_hash(about["prompts"])
    assert set(about["prompts"]) | set(made.left_out) == set(SCP_CODES)
    assert not set(about["prompts"]) & set(made.left_out)


def test_recipes():
    assert get_recipe("demo").schedule(3).steps(25_600) == 4_000
    with pytest.raises(ParameterError, match="recipe is one of demo, longer"):
        get_recipe("huge")
    with pytest.raises(ParameterError, match="do not fill one batch"):
        train_reader(dataclasses.replace(TINY, n_records=10), 0, "work", "reader")


# Statements and superclasses


def test_statements_agree_with_the_labels_of_the_benchmarks():
    """Statement by statement and superclass by superclass, for every finding alone."""
    truth = shown([[finding] for finding in FINDINGS], SCP_CODES)
    supers = truth.astype(int) @ superclass_members(SCP_CODES) > 0
    for row, finding in enumerate(FINDINGS):
        labels = findings_to_labels([finding])
        named = {SUPERCLASSES[i] for i in np.flatnonzero(supers[row])}
        assert named == set(labels["ptbxl-super"]), finding
        seen = {SCP_CODES[i] for i in np.flatnonzero(truth[row])}
        assert seen >= set(labels["ptbxl-form"]) | set(labels["ptbxl-rhythm"]), finding


def test_superclasses_by_a_naive_loop():
    p = np.random.default_rng(1).uniform(0, 1, (5, len(SCP_CODES)))
    found = any_of_its_statements(p, superclass_members(SCP_CODES))
    from ecglib.data.labels import scp_statements

    for row in range(5):
        for column, name in enumerate(SUPERCLASSES):
            none = 1.0
            for code, value in zip(SCP_CODES, p[row], strict=True):
                if scp_statements()[code]["super"] == name:
                    none *= 1.0 - value
            assert found[row, column] == pytest.approx(1.0 - none)
    np.testing.assert_allclose(found[:, 0], p[:, SCP_CODES.index("NORM")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_records": 10}, "n_records = 10: at least 32 are needed, one batch; 0 takes the recipe's"),
        ({"n_calibration": 9}, "n_calibration = 9: at least 10 are needed"),
    ],
)
def test_a_recipe_of_too_few_records_is_refused_before_any_is_made(given, message):
    params = {"recipe": "demo", "n_records": 0, "epochs": 0, "n_calibration": 0}
    assert recipe_of(SimpleNamespace(params=params)) == RECIPES["demo"]
    with pytest.raises(ParameterError, match=message):
        recipe_of(SimpleNamespace(params=params | given))


# Curves


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5])
def test_platt_curves_are_logistic_regression(share):
    """Platt's targets are what scikit-learn sees when each record counts in both classes, weighted by its target."""
    rng = np.random.default_rng(0)
    y = rng.random(3000) < share
    s = 0.05 * rng.standard_normal(3000) + 0.06 * y - 0.2
    slope, intercept = probability.platt_curve(s, y)
    target = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
    scale = 20.0  # so that the solver of scikit-learn converges
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(
        scale * np.r_[s, s][:, None], np.r_[np.ones(3000), np.zeros(3000)], np.r_[target, 1 - target]
    )
    assert slope == pytest.approx(scale * fitted.coef_[0, 0], rel=1e-3)
    assert intercept == pytest.approx(fitted.intercept_[0], rel=1e-3)


def test_a_curve_finds_the_truth_it_was_drawn_from():
    rng = np.random.default_rng(3)
    s = rng.normal(0, 0.1, 200_000)
    y = rng.random(len(s)) < probability.sigmoid(17 * s - 2)
    assert probability.platt_curve(s, y) == pytest.approx((17, -2), rel=0.03)
    p = probability.sigmoid(17 * s - 2)[:20_000]
    good = probability.reliability(p[:, None], y[:20_000, None], np.arange(20_000), repeats=50)
    assert good.ece < 1.0
    bad = probability.reliability(np.sqrt(p)[:, None], y[:20_000, None], np.arange(20_000), repeats=50)
    assert bad.ece == pytest.approx(100 * (np.sqrt(p).mean() - y[:20_000].mean()), rel=0.05)
    assert good.ece < bad.ci_low < bad.ece < bad.ci_high
    assert good.counts.sum() == 20_000


def test_curves_need_both_kinds_and_separable_ones_stay_finite():
    y = np.arange(10) > 7
    slope, _ = probability.platt_curve(y + 0.0, y)
    assert 0 < slope < 20
    with pytest.raises(ValueError, match="0 of 10"):
        probability.platt_curve(np.arange(10.0), np.zeros(10, bool))
    with pytest.raises(ValueError, match="differ"):
        probability.platt_curve(np.ones(10), y)


def test_calibrated_means_are_the_prevalences(tiny):
    """On the calibrating records themselves, but for Platt's targets: the first-order condition of the intercept."""
    made = tiny[1]
    truth = shown(made.calibration.records["findings"], made.reader.codes)
    p = made.reader.calibrated(answers(made.reader.scores, made.calibration))
    np.testing.assert_allclose(p.mean(axis=0), truth.mean(axis=0), atol=5e-3)


def test_an_untrained_reader_has_the_same_words_and_another_encoder(tiny, ecgs):
    reader = tiny[1].reader
    one, again, other = reader.untrained(1), reader.untrained(1), reader.untrained(2)
    np.testing.assert_array_equal(one.scores(ecgs, 100), again.scores(ecgs, 100))
    assert not np.allclose(one.scores(ecgs, 100), other.scores(ecgs, 100))
    assert not np.allclose(one.scores(ecgs, 100), reader.scores(ecgs, 100))
    assert one.codes == reader.codes
    assert torch.equal(one.vectors, reader.vectors)


def test_a_score_that_ranks_the_wrong_way_says_the_prevalence_and_no_more():
    y = np.random.default_rng(1).random(400) < 0.2
    slope, intercept = probability.platt_curve(-y.astype(float) + 0.1 * np.random.default_rng(2).random(400), y)
    assert slope == 0
    assert probability.sigmoid(np.array(intercept)) == pytest.approx(y.mean(), abs=0.01)
