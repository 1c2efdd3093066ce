"""Records of other hospitals, the Challenge's sources and CPSC2018, read by the same reader; n stands beside each."""

from typing import Any

import numpy as np
import pandas as pd

from ecglib.answers import answers
from ecglib.chapters import transfer
from ecglib.chapters.realism import HZ
from ecglib.data import open_dataset
from ecglib.data.store import RecordStore
from ecglib.datasets import data_kind
from ecglib.run import Run, data_entry
from ecglib.statement_scores import Questions, Scored, questions, score
from ecglib.tables import DATASET_NAMES

_SETTING = "trained on simulated ECGs, statements"
TOP = 5


def said(name: str) -> str:
    """A set or a source of the Challenge as a reader says it."""
    return DATASET_NAMES.get(name, name)


def stores(run: Run) -> dict[str, RecordStore]:
    """The sets that ``challenge_root`` and ``cpsc2018_root`` name, none twice.

    The Challenge's part ``ptb-xl`` is left out, which is PTB-XL again, and its ``cpsc2018`` records that the original
    set holds too.
    """
    p, found = run.params, {}
    if p["cpsc2018_root"]:
        found["cpsc2018"] = open_dataset("cpsc2018", p["cpsc2018_root"], sampling_rate_hz=HZ)
    if p["challenge_root"]:
        store = open_dataset("cinc2021", p["challenge_root"], sampling_rate_hz=HZ)
        again = set(found["cpsc2018"].records["id"]) if found else set()
        keep = (store.records["part"] != "ptb-xl") & ~store.records["id"].isin(again)
        found["cinc2021"] = store.select(keep.to_numpy())
        print(f"left out of the Challenge as records of sets that are scored already: {int((~keep).sum())}")
    if not found:
        print("neither challenge_root nor cpsc2018_root is given: no other hospital is read")
    return found


def kinds(of: dict[str, RecordStore]) -> dict[str, str]:
    """Name -> ``subset`` or ``paper``."""
    return {name: data_kind(store, name) for name, store in of.items()}


def read(run: Run, reader: Any, of: dict[str, RecordStore]) -> dict[str, Scored]:
    """Every statement of every set; in the Challenge against records of sources that use the statement."""
    p = run.params
    found = {}
    for name, store in of.items():
        asked = questions(name, store, reader.codes, "part" if "part" in store.records else "")
        found[name] = score(asked, answers(reader.scores, store), repeats=p["n_bootstrap"], seed=p["seed"])
    return found


def parts(of: dict[str, RecordStore]) -> pd.DataFrame:
    """Records per source."""
    rows = []
    for name, store in of.items():
        sources = store.records["part"] if "part" in store.records else pd.Series([name] * len(store))
        counts = sources.value_counts().sort_index()
        rows += [{"set": said(name), "source": said(part), "records": n} for part, n in counts.items()]
    return pd.DataFrame(rows, columns=["set", "source", "records"])


def table(found: dict[str, Scored]) -> pd.DataFrame:
    """One row per set: records, statements with five positives and their mean AUC, labels among the first five."""
    rows = []
    for name, of in found.items():
        ranks = label_ranks(of.of, of.scores)
        rows.append(
            {
                "set": said(name),
                "records": of.n,
                "statements scored": len(of.table),
                "mean AUC": transfer.cell(of.mean, of.ci_low, of.ci_high),
                "labels": len(ranks),
                f"labels among the first {TOP} statements": int((ranks["rank"] <= TOP).sum()),
                "by chance": f"{len(ranks) * TOP / len(of.of.codes):.1f}",
            }
        )
    return pd.DataFrame(rows)


def label_ranks(of: Questions, scores: np.ndarray) -> pd.DataFrame:
    """Rank of every labelled statement among a record's statements: columns id, code, rank (1 is the first)."""
    ranks = (-scores).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") + 1
    rows, columns = np.nonzero(of.labels)
    ids = of.store.records["id"].to_numpy()
    codes = np.array(of.codes)
    return pd.DataFrame({"id": ids[rows], "code": codes[columns], "rank": ranks[rows, columns]})


def rows(found: dict[str, Scored], kinds: dict[str, str]) -> list[dict]:
    """The scores as entries of a run record's ``metrics``."""
    out = []
    for name, of in found.items():
        out += transfer.side_rows("reader", name, kinds[name], _SETTING, of)
    return [row for row in out if np.isfinite(row["value"])]


def used_data(of: dict[str, RecordStore]) -> dict[str, dict]:
    """The entries of a run record's ``data``."""
    return {name: data_entry(kind, of[name], "test") for name, kind in kinds(of).items()}


def _weakest(of: Scored) -> str:
    low = of.table[of.table["auc"] < transfer.LOW].sort_values("auc")
    return f", below {transfer.LOW:g}: {transfer.weakest(low)}" if len(low) else ""


def in_words(found: dict[str, Scored]) -> str:
    """The result in words, every number computed."""
    told = [
        f"{said(name)} ({of.n} records): "
        + (
            f"{of.mean:.1f} ({of.ci_low:.1f} to {of.ci_high:.1f}) over {len(of.table)} statements{_weakest(of)}"
            if len(of.table)
            else "no statement has five positive records, so there is no AUC"
        )
        for name, of in found.items()
    ]
    return "Other hospitals: " + "; ".join(told) + "." if told else "No other hospital was read."
