"""The class spaces of the six benchmark tasks, and the maps into them from SCP, SNOMED CT and CPSC codes.

Class names are those of the split files that the papers share (MERL, ICML 2024). Codes that PTB-XL ends or
starts with an underscore (``NST_``, ``_AVB``) are written without it everywhere in this package.

Two rules were found by comparing with those split files, record by record (tests/data/test_labels.py):

* PTB-XL: every SCP statement of a record counts, whatever its likelihood. Likelihood 0 means «not given»;
  all rhythm statements carry it.
* CSN: the released labels test acronyms as substrings of a joined text (``"AF" in "AFIB,TWC"``), which gives
  7 of 38 classes false positives. Here a record has a class only when its exact SNOMED code is there;
  ``rule="merl-substring"`` gives the released labels for comparison.
"""

import csv
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ecglib.errors import DataError

if TYPE_CHECKING:
    import numpy as np

TASKS: dict[str, tuple[str, ...]] = {
    "ptbxl-super": tuple("HYP NORM MI CD STTC".split()),
    "ptbxl-sub": tuple(
        "AMI LAFB/LPFB LVH STTC IMI SEHYP CRBBB WPW LAO/LAE NORM ISC AVB RAO/RAE LMI ISCI ISCA NST CLBBB "
        "ILBBB IRBBB PMI RVH IVCD".split()
    ),
    "ptbxl-form": tuple(
        "PAC DIG HVOLT STD LPR QWAVE VCLVH NDT TAB LOWT ABQRS LNGQT PRC(S) NT STE NST PVC INVT LVOLT".split()
    ),
    "ptbxl-rhythm": tuple("SVARR BIGU STACH SARRH SBRAD TRIGU AFIB SR SVTAC PSVT AFLT PACE".split()),
    "cpsc2018": tuple("AFIB VPC NORM 1AVB CRBBB STE PAC CLBBB STD".split()),
    "csn": tuple(
        "AQW UW SR WPW 2AVB AT VB ARS STTC SA STE VPB TWO STTU ALS APB 2AVB1 PRIE CCR CR AF AVB QTIE LBBB "
        "VEB SVT RBBB 1AVB STDD MI AFIB TWC PWC ERV RVH LVH ST JEB".split()
    ),
}
PTBXL_TASKS = ("ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm")

# The simulator's vocabulary beyond the 71 SCP codes: conditions that only CSN names, or that no task names.
EXTRA_FINDINGS: dict[str, str] = {
    "AT": "atrial tachycardia",
    "JESC": "junctional escape beats",
    "VESC": "ventricular escape beats",
    "LAXIS": "left axis deviation",
    "RAXIS": "right axis deviation",
    "CCR": "counterclockwise rotation",
    "CR": "clockwise rotation",
    "UWAVE": "prominent U wave",
    "EREPOL": "early repolarisation",
    "STTU": "upsloping ST segment",
    "PWC": "P wave change",
    "2AVB1": "second-degree AV block, Wenckebach type",
    "2AVB2": "second-degree AV block, Mobitz II type",
}

# Finding -> class, where they say the same thing; a finding absent here has no class in that set.
_CPSC_OF_FINDING = {"PVC": "VPC"} | {c: c for c in "AFIB NORM 1AVB CRBBB STE PAC CLBBB STD".split()}
_CSN_OF_FINDING = {
    "QWAVE": "AQW",
    "UWAVE": "UW",
    "2AVB2": "2AVB",  # its own code has no class of the 38
    "3AVB": "AVB",  # likewise; «AVB» is the unspecified block
    "RAXIS": "ARS",
    "LAXIS": "ALS",
    "NST": "STTC",
    "NDT": "STTC",
    "SARRH": "SA",
    "PVC": "VPB",
    "PAC": "APB",
    "INVT": "TWO",
    "LPR": "PRIE",
    "AFLT": "AF",
    "LNGQT": "QTIE",
    "CLBBB": "LBBB",
    "CRBBB": "RBBB",
    "VESC": "VEB",
    "JESC": "JEB",
    "SVTAC": "SVT",
    "PSVT": "SVT",
    "STD": "STDD",
    "NT": "TWC",
    "TAB": "TWC",
    "LOWT": "TWC",
    "EREPOL": "ERV",
    "STACH": "ST",
} | {c: c for c in "SR WPW 2AVB AT STE STTU 2AVB1 CCR CR 1AVB AFIB PWC RVH LVH".split()}

# CPSC2018's own numbering (REFERENCE.csv) and the SNOMED codes that the Challenge gave the same nine.
_CPSC_CODES = {
    "1": "NORM", "2": "AFIB", "3": "1AVB", "4": "CLBBB", "5": "CRBBB", "6": "PAC", "7": "VPC", "8": "STD",
    "9": "STE",
    "426783006": "NORM", "164889003": "AFIB", "270492004": "1AVB", "164909002": "CLBBB", "59118001": "CRBBB",
    "284470004": "PAC", "164884008": "VPC", "429622005": "STD", "164931005": "STE",
}  # fmt: skip


def _table(name: str) -> list[dict[str, str]]:
    text = files("ecglib.data").joinpath("tables", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def scp_statements() -> dict[str, dict[str, str]]:
    """The 71 SCP statements of PTB-XL: code -> name, super, sub ("" unless diagnostic), form, rhythm (0/1).

    The assignment is that of ``scp_statements.csv`` (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6).
    """
    return {row.pop("code"): row for row in _table("scp.csv")}


@cache
def csn_acronyms() -> dict[str, str]:
    """SNOMED code -> acronym, for the codes that CSN's own list names; the first where several share a code.

    The list is ``ConditionNames_SNOMED-CT.csv`` (PhysioNet, ecg-arrhythmia 1.0.0).
    """
    return {row["snomed"]: row["acronym"] for row in _table("csn_snomed.csv")}


SCP_CODES: tuple[str, ...] = tuple(scp_statements())
FINDINGS: dict[str, str] = {code: row["name"] for code, row in scp_statements().items()} | EXTRA_FINDINGS


def task_classes(task: str) -> tuple[str, ...]:
    """The classes of ``task``; DataError with the known names when there is no such task."""
    if task not in TASKS:
        raise DataError(f"no task is called {task!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[task]


def clean_scp(code: str) -> str:
    """An SCP code as it is written in this package: without blanks and the placeholder underscore."""
    return code.strip().strip("_")


def unknown_scp(codes: Iterable[str]) -> list[str]:
    """The codes that are none of the 71 statements, sorted: they carry no label and should be reported."""
    return sorted({clean_scp(code) for code in codes} - scp_statements().keys())


def _in_order(found: Iterable[str | None], task: str) -> list[str]:
    found = set(found)
    return sorted(cls for cls in task_classes(task) if cls in found)


def scp_to_task(codes: Iterable[str], task: str) -> list[str]:
    """Classes of a PTB-XL task that SCP statements amount to, sorted. Unknown codes carry no label."""
    if task not in PTBXL_TASKS:
        raise DataError(f"{task!r} is not labelled with SCP statements; {', '.join(PTBXL_TASKS)} are")
    statements = scp_statements()
    known = [code for code in map(clean_scp, codes) if code in statements]
    kind = task.removeprefix("ptbxl-")
    if kind in ("super", "sub"):
        return _in_order((statements[code][kind] for code in known), task)
    return _in_order((code for code in known if statements[code][kind] == "1"), task)


def unknown_snomed(codes: Iterable[str]) -> list[str]:
    """The SNOMED codes that CSN's list does not name, sorted."""
    return sorted({code.strip() for code in codes} - csn_acronyms().keys())


def snomed_to_csn(codes: Sequence[str], rule: str = "exact") -> list[str]:
    """Classes of the task ``csn`` for the SNOMED codes of a header, sorted; unknown codes carry no label.

    ``rule="merl-substring"`` reproduces the released split files, in which ``AF`` also marks every ``AFIB``.
    """
    acronyms = [csn_acronyms().get(code.strip()) for code in codes]
    if rule == "exact":
        return _in_order(acronyms, "csn")
    if rule == "merl-substring":
        joined = ",".join(a for a in acronyms if a)
        return sorted(cls for cls in TASKS["csn"] if cls in joined)
    raise DataError(f"no rule for CSN labels is called {rule!r}; choose exact or merl-substring")


def cpsc_to_classes(codes: Iterable[str | int]) -> list[str]:
    """Classes of the task ``cpsc2018`` for the numbers 1-9 of REFERENCE.csv or for SNOMED codes, sorted.

    The set says left and right bundle branch block; the benchmark files the same records as CLBBB and CRBBB.
    """
    return _in_order((_CPSC_CODES.get(str(code).strip()) for code in codes), "cpsc2018")


@cache
def _scp_classes(code: str) -> dict[str, tuple[str, ...]]:
    """Classes of each PTB-XL task for one statement or other finding, which has none."""
    return {task: tuple(scp_to_task([code], task)) for task in PTBXL_TASKS}


def findings_to_labels(findings: Iterable[str]) -> dict[str, list[str]]:
    """Findings (keys of FINDINGS) -> the classes of all six tasks, sorted; DataError on an unknown one."""
    findings = {clean_scp(finding) for finding in findings}
    unknown = sorted(finding for finding in findings if finding not in FINDINGS)
    if unknown:
        raise DataError(f"unknown findings {', '.join(unknown)}; ecglib.data.labels.FINDINGS lists the known ones")
    scp = set(findings)
    if scp & {"2AVB1", "2AVB2"}:
        scp.add("2AVB")  # PTB-XL does not tell the two types apart
    if "AT" in scp:
        scp.add("SVTAC")  # PTB-XL has no atrial tachycardia; CSN keeps the two apart
    amounts = [_scp_classes(code) for code in scp]
    labels = {task: sorted({cls for of in amounts for cls in of[task]}) for task in PTBXL_TASKS}
    labels["cpsc2018"] = _in_order((_CPSC_OF_FINDING.get(f) for f in findings), "cpsc2018")
    csn = {_CSN_OF_FINDING.get(finding) for finding in findings}
    if "MI" in labels["ptbxl-super"]:
        csn.add("MI")
    if {"BIGU", "PVC"} <= findings:
        csn.add("VB")
    labels["csn"] = _in_order(csn, "csn")
    return labels


def label_matrix(labels: Sequence[Iterable[str]], task: str) -> "np.ndarray":
    """Classes of N records -> (N, C) bool, columns as in ``TASKS[task]``; DataError on a foreign class."""
    import numpy as np

    column = {cls: c for c, cls in enumerate(task_classes(task))}
    matrix = np.zeros((len(labels), len(column)), dtype=bool)
    for n, classes in enumerate(labels):
        for cls in classes:
            if cls not in column:
                raise DataError(f"record {n} carries {cls!r}, which is no class of {task}")
            matrix[n, column[cls]] = True
    return matrix
