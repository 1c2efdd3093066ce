"""The SCP statements that a reader names: their prompts, who shows them, and the superclasses they make up."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ecglib import knowledge
from ecglib.data.labels import SCP_CODES, clean_scp, scp_statements
from ecglib.paths import sha256_of

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
# What SCP has no code of its own for and files under another one: as in ecglib.data.labels.findings_to_labels.
FILED_UNDER = {"2AVB1": "2AVB", "2AVB2": "2AVB", "AT": "SVTAC"}


def statement_prompts(codes: Sequence[str] = SCP_CODES) -> dict[str, list[str]]:
    """Code -> its prompts in the knowledge base, which are fixed before any scoring, in the order of ``codes``."""
    return {code: knowledge.finding(code)["prompts"] for code in codes}


def prompts_hash(prompts: Mapping[str, Sequence[str]]) -> str:
    """SHA-256 over codes and prompts in their order."""
    return sha256_of([[code, list(texts)] for code, texts in prompts.items()])


def scp_of(findings: Iterable[str]) -> set[str]:
    """SCP codes that findings amount to: PTB-XL does not tell the second-degree blocks or atrial tachycardia apart."""
    found = {clean_scp(finding) for finding in findings}
    return (found | {FILED_UNDER[code] for code in found & FILED_UNDER.keys()}) & set(SCP_CODES)


def shown(findings: Iterable[Iterable[str]], codes: Sequence[str]) -> np.ndarray:
    """Which statements each record shows: findings of N records -> (N, C) bool."""
    sets = [scp_of(of_record) for of_record in findings]
    return np.array([[code in of_record for code in codes] for of_record in sets], dtype=bool).reshape(-1, len(codes))


def superclass_members(codes: Sequence[str]) -> np.ndarray:
    """Which of ``codes`` belong to which of ``SUPERCLASSES`` in PTB-XL: (C, 5) bool. Form and rhythm are in none."""
    of_code = [scp_statements()[code]["super"] for code in codes]
    return np.array([[of == name for name in SUPERCLASSES] for of in of_code], dtype=bool)


def superclasses_shown(findings: Iterable[Iterable[str]]) -> np.ndarray:
    """Which superclasses each record shows by any SCP statement: findings of N simulated records -> (N, 5) bool."""
    return shown(findings, SCP_CODES).astype(int) @ superclass_members(SCP_CODES) > 0


def any_of_its_statements(probabilities: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Probabilities of statements (N, C) and their superclasses (C, S) -> (N, S): 1 - product of (1 - p).

    As if the statements of a superclass were independent. They are not: where they exclude each other the superclass is
    called too seldom, where they go together too often; a reliability diagram says by how much. NORM has one statement,
    whose probability it keeps.
    """
    absent = np.where(members[None], 1.0 - np.asarray(probabilities, dtype=float)[:, :, None], 1.0)  # (N, C, S)
    return 1.0 - absent.prod(axis=1)
