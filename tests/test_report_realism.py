"""The gap between generated and real statements, on lists whose answer is known."""

import numpy as np
import pytest

from ecglib.data.synthetic import simulate_record
from ecglib.errors import DataError, ParameterError
from ecglib.knowledge.measure import read_statements
from ecglib.report_realism import held_out, normalised, statements_of, text_gap

REAL = ["Sinus rhythm", "SINUS RHYTHM.", "Possible inferior infarct - age undetermined", "Left axis deviation", "LVH"]
REPORTS = ["Sinus rhythm. Left axis deviation", "sinus rhythm. Zebra pattern", "Sinus rhythm"]


def test_statements_are_compared_without_case_and_punctuation():
    assert normalised("*** INFERIOR INFARCT - POSSIBLY ACUTE ***") == "inferior infarct possibly acute"
    assert normalised("2:1 A-V block:") == "2:1 a v block"
    assert normalised("RSR' in V1") == "rsr' in v1"
    assert statements_of("Sinus rhythm. I.V. conduction defect.\nLVH") == [
        "sinus rhythm",
        "i v conduction defect",
        "lvh",
    ]


def test_planted_lists():
    gap = text_gap(REPORTS, REAL)
    table = gap.table
    assert table.loc["all", "n_statements"] == 4  # two spellings are one statement
    assert table.loc["all", "word_for_word"] == 50
    assert table.loc["all", "hedged"] == 25
    assert table.loc["all", "vocabulary"] == pytest.approx(100 * 5 / 11)
    parts = table.loc[["in view", "held out"], "n_statements"]
    assert parts.sum() == 4
    said = table.loc["generated"]
    assert said["n_statements"] == 3
    assert said["word_for_word"] == 80  # 4 of 5 said statements are real
    assert said["per_report"] == pytest.approx(5 / 3)
    assert said["entropy_bits"] == pytest.approx(0.6 * np.log2(5 / 3) + 0.4 * np.log2(5))
    assert gap.never_real == (("zebra pattern", 1),)


def test_the_same_list_has_no_gap():
    table = text_gap(REAL, REAL).table
    assert (table.loc["all", ["word_for_word", "vocabulary"]] == 100).all()
    assert table.loc["generated", "word_for_word"] == 100


def test_a_statement_with_a_spelling_in_view_is_not_held_out():
    texts = [f"statement {k}" for k in range(400)]
    share = np.mean([held_out(text) for text in texts])
    assert 0.18 < share < 0.33
    outside, inside = next(t for t in texts if held_out(t)), f"{next(t for t in texts if held_out(t))}."
    spellings = [outside, *(f"{outside}{'.' * k}" for k in range(1, 12))]
    assert not all(held_out(text) for text in spellings)
    assert text_gap(["x"], spellings).table.loc["held out", "n_statements"] == 0
    assert normalised(outside) == normalised(inside)


@pytest.mark.parametrize(("reports", "statements"), [([], REAL), (REPORTS, []), (["..."], REAL)])
def test_empty_lists_are_refused(reports, statements):
    with pytest.raises(ParameterError, match="text_gap"):
        text_gap(reports, statements)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="esi_statement_descriptions"):
        read_statements(tmp_path / "nothing")


def test_generated_reports_reach_real_statements(real_data):
    """A small sample; the full figures stand where the table is printed."""
    folder = real_data("mimic_iv_ecg_text")
    reports = [simulate_record("mimic-iv-ecg", 3, k, 100).report for k in range(3000)]
    table = text_gap(reports, read_statements(folder)).table
    assert table.loc["all", "word_for_word"] > 15
    assert table.loc["held out", "word_for_word"] > 12
    assert table.loc["all", "vocabulary"] > 55
    assert table.loc["generated", "hedged"] > 35
