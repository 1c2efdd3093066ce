"""Sizes, names and folders of pre-training; which records count as the paper's; when a checkpoint is made again."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib import datasets, pretrain
from ecglib.checkpoint import save_pretrained
from ecglib.data.store import write_store
from ecglib.errors import CheckpointError, ParameterError


@pytest.fixture(scope="module")
def model():
    return pretrain.build_model("deri", "demo", seed=0)


def test_weights_are_a_function_of_the_seed(model):
    again = pretrain.rebuild(model, seed=0)
    other = pretrain.rebuild(model, seed=1)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    assert not torch.equal(model.down.weight, other.down.weight)
    assert other.text_encoder is model.text_encoder


@pytest.mark.parametrize(("processes", "n"), [(1, 301), (2, 301), (3, 6400), (7, 500)])
def test_a_batch_is_shared_evenly(processes, n):
    schedule = pretrain.schedule_for("deri", "demo", n, 0, processes=processes)
    assert schedule.batch_size % processes == 0
    assert schedule.batch_size > 0
    assert schedule.steps(n) >= 8 * schedule.epochs


def test_too_few_records_for_a_batch_name_the_parameters():
    with pytest.raises(ParameterError, match="5 records for processes = 1: too few"):
        pretrain.schedule_for("deri", "demo", 5, 0)
    with pytest.raises(ParameterError, match="64 records for processes = 9"):
        pretrain.schedule_for("deri", "demo", 64, 0, processes=9)


def test_a_changed_model_has_a_name_and_a_folder_of_its_own(model):
    assert pretrain.variant(model, "demo") == ""
    names = {pretrain.variant(model, "demo", epochs=1), pretrain.variant(model, "demo", n_records=99)}
    names.add(pretrain.variant(pretrain.build_model("deri", "demo", 0, terms=("align",)), "demo"))
    assert len(names) == 3
    assert "" not in names
    assert pretrain.variant(model, "demo", epochs=4, n_records=6_400) == ""  # the profile's own numbers
    assert pretrain.method_name("deri", "", "simulated") == "deri"
    assert pretrain.method_name("deri", "12ab34cd", "mimic-iv-ecg") == "deri-12ab34cd"
    assert pretrain.method_name("deri", "", "ptb-xl") == "deri-on-ptb-xl"
    plain = pretrain.checkpoint_folder("results", "deri", "demo", "simulated", 0)
    assert pretrain.checkpoint_folder("results", "deri", "demo", "simulated", 0, "12ab34cd") != plain
    assert pretrain.shown(plain, "results") == "results/checkpoints/deri/demo-simulated-seed0"


def test_a_checkpoint_of_other_code_is_made_again(model, tmp_path, monkeypatch, capsys):
    folder = pretrain.checkpoint_folder(tmp_path, "deri", "demo", "simulated", 0)
    record = {"dataset": "simulated", "data_kind": "simulated", "variant": "", "profile": "demo"}
    record |= {"data": {}, "training": {}}
    save_pretrained(model, folder, **record, recipe="of another day")
    made = []

    def make(*args):
        made.append(args)
        save_pretrained(model, folder, **record, recipe=pretrain.recipe("deri", "demo"))

    monkeypatch.setattr(pretrain, "_run_pretraining", make)
    pretrain.pretrained("deri", "demo", 0, "", tmp_path)
    assert len(made) == 1
    assert "made by other code or settings" in capsys.readouterr().out
    _, found = pretrain.pretrained("deri", "demo", 0, "", tmp_path)
    assert len(made) == 1
    assert found["dataset"] == "simulated"
    with pytest.raises(ParameterError, match=r"trained at 100 Hz \(profile demo\) and profile gpu reads 500 Hz"):
        pretrain.pretrained("deri", "gpu", 0, str(folder), tmp_path)
    long = pretrain.checkpoint_folder(tmp_path, "deri", "gpu", "simulated", 0)
    save_pretrained(model, long, **record | {"profile": "gpu"}, recipe="of another day")
    with pytest.raises(CheckpointError, match="was made by other code or settings; give it with -p checkpoint"):
        pretrain.pretrained("deri", "gpu", 0, "", tmp_path)
    assert len(made) == 1


def test_a_checkpoint_that_does_not_say_its_origin_is_refused(model, tmp_path):
    save_pretrained(model, tmp_path / "bare")
    with pytest.raises(CheckpointError, match=r"does not say what trained the model \(no data, data_kind"):
        pretrain.pretrained("deri", "demo", 0, str(tmp_path / "bare"), tmp_path)


def test_a_checkpoint_of_another_method_is_refused(model, tmp_path):
    folder = save_pretrained(model, tmp_path / "merl")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"paper": "merl"}))
    with pytest.raises(CheckpointError, match="holds a checkpoint of 'merl', not of 'deri'"):
        pretrain.pretrained("deri", "demo", 0, str(folder), tmp_path)


class Counted:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n


def test_only_a_whole_set_is_called_the_papers():
    assert datasets.data_kind(Counted(771_693), "mimic-iv-ecg") == "paper"
    assert datasets.data_kind(Counted(17_400), "ptb-xl", folds=8) == "paper"
    assert datasets.data_kind(Counted(2_198), "ptb-xl", folds=1) == "paper"
    assert datasets.data_kind(Counted(333), "ptb-xl") == "subset"
    assert datasets.data_kind(Counted(100), "csn", folds=8) == "subset"  # a whole set cut by n_records
    assert datasets.data_kind(Counted(10**6), "simulated") == "simulated"


def test_a_set_without_reports_says_so(tmp_path, monkeypatch):
    records = pd.DataFrame({"id": list("abc"), "fold": [1, 2, 10]})
    store = write_store(tmp_path / "s", 100, np.zeros((3, 12, 10), np.int16), records)
    monkeypatch.setattr(datasets, "open_dataset", lambda *args, **kwargs: store)
    with pytest.raises(ValueError, match="none of the 3 records of ptb-xl has a report"):
        datasets.pretraining_store("demo", "ptb-xl", "somewhere", 0)
    with pytest.raises(ParameterError, match="has no labels to score; choose one of ptb-xl"):
        datasets.evaluation_stores("demo", "mimic-iv-ecg", "somewhere", 0)
