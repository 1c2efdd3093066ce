"""Cleaning of real report text."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecglib import reports


def test_statements_of_a_cart_are_joined_as_sentences():
    columns = ["Sinus rhythm", "Possible right atrial abnormality.", None, float("nan"), " ", "Borderline ECG"]
    assert reports.clean_statements(columns) == "sinus rhythm. possible right atrial abnormality. borderline ecg"
    assert reports.join_statements(columns) == "Sinus rhythm. Possible right atrial abnormality. Borderline ECG"
    assert reports.join_statements([None, float("nan"), "", "   "]) == ""


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("*** ANTERIOR INFARCT - POSSIBLY ACUTE ***", "anterior infarct - possibly acute"),
        ("--- Possible measurement error ---. Sinus rhythm", "sinus rhythm"),
        ("*UnconfirmedAnalysis* Sinus rhythm.. Normal EKG.", "sinus rhythm. normal ecg"),
        ("Pacemaker rhythm - no further analysis*", "pacemaker rhythm"),
        ("NO FURTHER ANALYSIS MADE BECAUSE OF PACEMAKER RHYTHM.", "pacemaker rhythm"),
        ("No further analysis attempted - not enough leads could be measured", ""),
        ("sinusrhythmus normales ekg 4.46 unbestÄtigter bericht", "sinusrhythmus normales ecg"),
        ("Sinus rhythm\n\twith  PVC(s) ", "sinus rhythm with pvc(s)"),
        ("- frequent PVCs. I.V. conduction defect", "frequent pvcs. i.v. conduction defect"),
        ("Sinus rhythm. SINUS RHYTHM. Normal ECG", "sinus rhythm. normal ecg"),
        ("sinusrhythmus. überdrehter linkstyp. ekg", "sinusrhythmus. ueberdrehter linkstyp. ecg"),
        ("Interpretation made without knowing patient's age. Sinus rhythm", "sinus rhythm"),
        ("QTc 452.5 ms. rate 71", "qtc 452.5 ms. rate 71"),
        ("窦性心律", ""),
        (None, ""),
        (float("nan"), ""),
        ("...", ""),
    ],
)
def test_clean(raw, expected):
    assert reports.clean(raw) == expected


def test_case_and_letters_can_be_kept():
    assert reports.clean("Überleitung VERZÖGERT", lower=False) == "Ueberleitung VERZOeGERT"
    assert reports.clean("窦性心律", ascii_only=False) == "窦性心律"


@given(st.text())
@example("0..0")
@example("sinus..rhythm...")
def test_cleaning_is_ascii_tidy_and_idempotent(text):
    once = reports.clean(text)
    assert once.isascii()
    assert once == once.strip()
    assert "  " not in once
    assert ".." not in once.replace(". .", "..")
    assert reports.clean(once) == once


@given(st.lists(st.sampled_from(["Sinus rhythm", "Normal ECG.", "", "LVH", "LVH."]), max_size=8))
def test_no_statement_is_lost_or_doubled(statements):
    joined = reports.clean_statements(statements)
    wanted = {s.rstrip(".").lower() for s in statements if s}
    assert set(joined.split(". ")) - {""} == wanted
    assert len([s for s in joined.split(". ") if s]) == len(wanted)


def test_words_and_usable():
    assert reports.word_count("sinus rhythm. normal ecg") == 4
    assert reports.word_count(float("nan")) == 0
    assert reports.is_usable("sinus rhythm. normal ecg")
    assert not reports.is_usable("atrial fibrillation")
    assert reports.is_usable("atrial fibrillation", min_words=2)


@given(st.lists(st.text(max_size=3)))
def test_distinct_restores_the_list(texts):
    unique, inverse = reports.distinct(texts)
    assert [unique[i] for i in inverse] == texts
    assert len(unique) == len(set(texts))


def test_distinct_share():
    assert reports.distinct_share(["a", "b", "a", "a"]) == 0.5
    assert math.isnan(reports.distinct_share([]))


def test_real_statements_survive_cleaning(real_data):
    folder = real_data("mimic_iv_ecg_text")
    statements = list(json.loads((folder / "esi_statement_descriptions.json").read_text(encoding="utf-8")))
    cleaned = {s: reports.clean(s) for s in statements}
    dropped = [s for s, c in cleaned.items() if not c]
    assert len(dropped) < 0.02 * len(statements)
    assert all(reports.is_technical(s) or not any(ch.isalpha() for ch in s) for s in dropped)
    assert len(set(cleaned.values())) < 0.9 * len(statements)  # case and full stops made many of them differ
    assert all(c == reports.clean(c) for c in cleaned.values())
    assert not any("*" in c or ".." in c for c in cleaned.values())


def test_real_physician_reports_survive_cleaning(real_data):
    import pandas as pd

    table = pd.read_csv(real_data("ptbxl_reports") / "ptbxl_database_form.csv")
    cleaned = table["report"].map(reports.clean)
    assert (cleaned.str.len() > 0).mean() > 0.99
    words = table["report"].map(reports.word_count)
    unconfirmed = table["report"].str.contains("unbest.tigter bericht", regex=True, case=False)
    assert cleaned.map(reports.word_count).sum() > 0.99 * (words.sum() - 3 * unconfirmed.sum())
    assert cleaned.map(str.isascii).all()
    assert cleaned.str.contains("aelter|ueber|fuer|laesst", regex=True).any()
