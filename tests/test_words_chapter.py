"""The words of the simulator's chapter: what is planted among the real statements is found, and nothing else."""

import json
from types import SimpleNamespace

import pytest

from ecglib.chapters import words
from ecglib.data.simulated import simulated_store


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECGLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(words, "N_REPORTS", 60)
        yield patch


def run_with(folder):
    return SimpleNamespace(params={"statements_root": str(folder), "seed": 0})


def test_planted_statements_are_counted(reports, tmp_path):
    seed = 0 + words.HELD_OUT_SEED
    said = simulated_store(words.PRETRAINING_COHORT, 60, seed, 100.0).records["report"][0].split(". ")
    real = dict.fromkeys(said, "") | {"Zebra stripes over the left atrium": "", "Ampersand rhythm of the moon": ""}
    (tmp_path / "esi_statement_descriptions.json").write_text(json.dumps(real), encoding="utf-8")
    found = words.compared(run_with(tmp_path))
    share = 100 * len(said) / (len(said) + 2)
    assert found.table.loc["all", "word_for_word"] == pytest.approx(share)
    rows = words.rows(found)
    assert {row["metric"] for row in rows} == {"percent_word_for_word", "percent_vocabulary"}
    assert rows[0]["value"] == pytest.approx(share)
    assert f"{share:.1f} %" in words.in_words(found)[0]


def test_without_real_statements_nothing_is_said(reports, capsys):
    assert words.compared(SimpleNamespace(params={"statements_root": "", "seed": 0})) is None
    assert "not compared" in capsys.readouterr().out
    assert words.rows(None) == [] and words.in_words(None) == []  # noqa: PT018
