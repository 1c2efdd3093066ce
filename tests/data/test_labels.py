"""Class spaces and maps, held against the released split files and PTB-XL's own table."""

import ast

import numpy as np
import pytest

from ecglib.data import labels
from ecglib.data.labels import TASKS
from ecglib.errors import DataError


def test_sizes_of_the_class_spaces():
    sizes = {task: len(classes) for task, classes in TASKS.items()}
    assert sizes == {
        "ptbxl-super": 5,
        "ptbxl-sub": 23,
        "ptbxl-form": 19,
        "ptbxl-rhythm": 12,
        "cpsc2018": 9,
        "csn": 38,
    }
    assert all(len(set(classes)) == len(classes) for classes in TASKS.values())


def test_the_71_statements_fill_the_ptbxl_classes_exactly():
    statements = labels.scp_statements()
    assert len(statements) == 71
    for kind, task in (("super", "ptbxl-super"), ("sub", "ptbxl-sub")):
        assert {row[kind] for row in statements.values()} - {""} == set(TASKS[task])
    for kind, task in (("form", "ptbxl-form"), ("rhythm", "ptbxl-rhythm")):
        assert {code for code, row in statements.items() if row[kind] == "1"} == set(TASKS[task])


def test_scp_codes_with_and_without_underscore():
    assert labels.scp_to_task(["NST_", "SR", "IMI"], "ptbxl-sub") == ["IMI", "NST"]
    assert labels.scp_to_task({"NST_": 100.0, "SR": 0.0}, "ptbxl-form") == ["NST"]
    assert labels.scp_to_task(["1AVB", "ISC_"], "ptbxl-super") == ["CD", "STTC"]
    assert labels.scp_to_task([], "ptbxl-rhythm") == []
    with pytest.raises(DataError, match="csn"):
        labels.scp_to_task(["SR"], "csn")


def test_an_unknown_scp_code_carries_no_label_and_is_reported():
    assert labels.scp_to_task(["NORM", "XYZ"], "ptbxl-super") == ["NORM"]
    assert labels.unknown_scp(["NORM", "XYZ", "ABC_", "NST_"]) == ["ABC", "XYZ"]


def test_snomed_is_matched_whole_or_as_released():
    afib, first_degree = "164889003", "270492004"
    assert labels.snomed_to_csn([afib, first_degree]) == ["1AVB", "AFIB"]
    assert labels.snomed_to_csn([afib, first_degree], "merl-substring") == ["1AVB", "AF", "AFIB", "AVB", "VB"]
    assert labels.snomed_to_csn(["1234"]) == []
    assert labels.unknown_snomed([afib, " 1234"]) == ["1234"]
    with pytest.raises(DataError, match="rule"):
        labels.snomed_to_csn([afib], "fuzzy")


def test_cpsc_numbers_and_snomed_agree():
    assert labels.cpsc_to_classes([5, "2", ""]) == ["AFIB", "CRBBB"]
    assert labels.cpsc_to_classes(["59118001", "164889003", "1"]) == ["AFIB", "CRBBB", "NORM"]
    both = [labels.cpsc_to_classes([n]) for n in range(1, 10)]
    assert sorted(c for (c,) in both) == sorted(TASKS["cpsc2018"])


def test_every_class_of_every_task_follows_from_some_finding():
    reached = {task: set() for task in TASKS}
    for finding in labels.FINDINGS:
        for task, classes in labels.findings_to_labels([finding]).items():
            reached[task] |= set(classes)
    reached["csn"] |= set(labels.findings_to_labels(["BIGU", "PVC"])["csn"])
    assert {task: set(TASKS[task]) - classes for task, classes in reached.items()} == {t: set() for t in TASKS}


def test_findings_speak_in_every_class_space():
    found = labels.findings_to_labels(["ASMI", "2AVB1", "AT"])
    assert found["ptbxl-super"] == ["CD", "MI"]
    assert found["ptbxl-sub"] == ["AMI", "AVB"]
    assert found["ptbxl-rhythm"] == ["SVTAC"]
    assert found["csn"] == ["2AVB1", "AT", "MI"]
    with pytest.raises(DataError, match="NOSUCH"):
        labels.findings_to_labels(["NORM", "NOSUCH"])


def test_label_matrix():
    matrix = labels.label_matrix([["NORM"], [], ["MI", "CD"]], "ptbxl-super")
    np.testing.assert_array_equal(matrix, np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 1, 0]], dtype=bool))
    with pytest.raises(DataError, match="AFIB"):
        labels.label_matrix([["AFIB"]], "ptbxl-super")
    with pytest.raises(DataError, match="the tasks are"):
        labels.label_matrix([], "ptbxl")


# against the real tables -------------------------------------------------------------------------------------


def _released(folder, column):
    """Record key -> set of classes, by column name, over train, val and test."""
    import pandas as pd

    parts = [pd.read_csv(path) for path in sorted(folder.glob("*.csv"))]
    assert len(parts) == 3
    return {row[column]: row for part in parts for row in part.to_dict("records")}


@pytest.mark.parametrize("kind", ["super", "sub", "form", "rhythm"])
def test_our_ptbxl_labels_are_the_released_ones(real_data, kind):
    """Every statement counts whatever its likelihood: that rule alone gives the released labels.

    Two of some 9,000 records differ in the table at hand, which comes from another version of PTB-XL.
    """
    import pandas as pd

    folder = {"super": "super_class", "sub": "sub_class"}.get(kind, kind)
    released = _released(real_data("merl_splits") / "ptbxl" / folder, "ecg_id")
    subset = pd.read_csv(real_data("ptbxl_subset") / "ptbxl_database.csv")
    form = pd.read_csv(real_data("ptbxl_reports") / "ptbxl_database_form.csv")
    task = f"ptbxl-{kind}"
    for table, fewest, allowed in ((subset, 80, 0), (form, 8000, 0 if kind in ("form", "rhythm") else 2)):
        compared, different = 0, []
        for record, text in zip(table["ecg_id"], table["scp_codes"], strict=True):
            if record in released:
                compared += 1
                theirs = sorted(cls for cls in TASKS[task] if released[record][cls] == 1)
                if labels.scp_to_task(ast.literal_eval(text), task) != theirs:
                    different.append(record)
        assert compared >= fewest
        assert len(different) <= allowed, different


def test_our_statements_are_those_of_ptbxl(real_data):
    import pandas as pd

    theirs = pd.read_csv(real_data("ptbxl_subset") / "scp_statements.csv", index_col=0)
    ours = labels.scp_statements()
    assert {labels.clean_scp(code) for code in theirs.index} == set(ours)
    for code, row in theirs.iterrows():
        mine = ours[labels.clean_scp(code)]
        diagnostic = row["diagnostic"] == 1
        assert mine["super"] == (row["diagnostic_class"] if diagnostic else "")
        assert mine["sub"] == (labels.clean_scp(row["diagnostic_subclass"]) if diagnostic else "")
        assert (mine["form"], mine["rhythm"]) == (str(int(row["form"] == 1)), str(int(row["rhythm"] == 1)))


def test_the_released_csn_labels_are_the_substring_rule_and_no_other(real_data):
    released = _released(real_data("merl_splits") / "chapman", "ecg_path")
    acronym_to_code = {acronym: code for code, acronym in labels.csn_acronyms().items()}
    exact_differs = 0
    for row in released.values():
        codes = [acronym_to_code[acronym] for acronym in row["diagnose"].split(",")]
        theirs = sorted(cls for cls in TASKS["csn"] if row[cls] == 1)
        assert labels.snomed_to_csn(codes, "merl-substring") == theirs
        exact_differs += labels.snomed_to_csn(codes) != theirs
    assert len(released) == 23026
    assert exact_differs > 3000


def test_cpsc_reference_gives_the_released_labels(real_data):
    import pandas as pd

    released = _released(real_data("merl_splits") / "icbeb", "filename")
    table = pd.read_csv(real_data("cpsc2018_original") / "REFERENCE.csv", dtype=str, keep_default_na=False)
    compared = 0
    for row in table.to_dict("records"):
        if row["Recording"] in released:
            numbers = [row[c].removesuffix(".0") for c in ("First_label", "Second_label", "Third_label")]
            theirs = sorted(cls for cls in TASKS["cpsc2018"] if released[row["Recording"]][cls] == 1)
            assert labels.cpsc_to_classes(numbers) == theirs, row
            compared += 1
    assert compared > 6800
