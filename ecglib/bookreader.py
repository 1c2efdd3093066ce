"""What readers are worth on real records, in words for README.md and as a table: every number from a run record."""

from pathlib import Path

import pandas as pd

from ecglib import results
from ecglib.checkpoint import weights_named
from ecglib.errors import ResultError

USUAL = "results/reader"
_STEM = "simulator_realism"


def scored_runs(results_dir: Path) -> list[dict]:
    """The records of runs that scored a reader on real PTB-XL records and ended well, oldest first."""
    records = [results.read_record(path) for path in sorted((results_dir / "runs" / _STEM).glob("*.json"))]
    good = [r for r in records if r["status"] == "ok" and r["parameters"]["dataset"] == "ptb-xl" and _on_real(r)[1]]
    return sorted(good, key=lambda record: record["created"])


def _on_real(record: dict) -> tuple[list[dict], dict[str, dict]]:
    """A reader's metrics on real records, and of them the means by data set."""
    rows = [row for row in record["metrics"] if row["method"] == "reader" and row["data_kind"] != "simulated"]
    return rows, {row["dataset"]: row for row in rows if row["metric"] == "macro_auc"}


def scored_table(results_dir: Path) -> pd.DataFrame:
    """One row per run of `scored_runs`: when, which commit, which reader, its two means, infarcts, the simulator told
    apart from the real records.
    """

    def cell(row: dict) -> str:
        return "{value:.1f} ({ci_low:.1f} to {ci_high:.1f})".format(**row)

    rows = []
    for record in scored_runs(results_dir):
        metrics, means = _on_real(record)
        infarct = next(row for row in metrics if row["dataset"] == "ptbxl-super" and row["setting"].endswith(": MI"))
        told = next(row for row in record["metrics"] if row["setting"].endswith("by everything; cohort as it is"))
        rows.append(
            {
                "run": record["created"].replace("T", " ")[:16],
                "commit": record["commit"][:7],
                "reader": _which(record["parameters"]["reader"]),
                "superclasses": cell(means["ptbxl-super"]),
                "MI": cell(infarct),
                "statements": cell(means["ptb-xl"]),
                "told apart": cell(told),
            }
        )
    return pd.DataFrame(rows, columns=["run", "commit", "reader", "superclasses", "MI", "statements", "told apart"])


def _which(folder: str) -> str:
    """``results/reader/seed-1`` -> «demo, seed 1»; another recipe's folder bears its name."""
    own = folder.removeprefix(USUAL).strip("/")
    recipe, _, seed = own.rpartition("seed-")
    return own if own and not seed.isdigit() else f"{recipe.strip('/-') or 'demo'}, seed {seed or 0}"


def reader_sentence(root: Path) -> str:
    """The newest scores of ``results/reader`` on real PTB-XL records, beside the printed ones of zero-shot methods.

    Raises ResultError without a run record of these weights.
    """
    usual = {"reader": USUAL, "seed": 0}
    whose = weights_named(root / USUAL)
    records = [
        record
        for record in scored_runs(root / "results")
        if usual.items() <= record["parameters"].items() and whose in record["notes"]
    ]
    if not records:
        raise ResultError(
            f"no run record of simulator_realism with dataset ptb-xl, seed 0 and the {whose} in results/reader; run it "
            "with them once"
        )
    rows, whole = _on_real(records[-1])

    def score(dataset: str) -> str:
        return "{value:.1f} % ({ci_low:.1f} to {ci_high:.1f}; {n} records)".format(**whole[dataset])

    count = sum(row["dataset"] == "ptb-xl" and row["metric"] == "auc" for row in rows)
    printed = results.reported()
    printed = printed[(printed.dataset == "ptbxl-super") & (printed.metric == "macro_auc")]
    printed = printed[printed.setting.str.startswith("zero-shot")]
    esi = printed[(printed.paper == "esi") & (printed.method == "ESI")].value.astype(float).item()  # a fraction
    # All others print percent; ESI does not say which of PTB-XL's tasks its numbers are for.
    printed = printed[printed.unit == "percent"]
    printed = sorted(zip(printed.value.astype(float), printed.method, strict=True))
    (least, worst), (most, best) = printed[0], printed[-1]
    return (
        f"On real PTB-XL records its macro AUC is {score('ptbxl-super')} over the five superclasses and "
        f"{score('ptb-xl')} over {count} statements. Methods that learned from real ECGs print {least:.1f} % ({worst}) "
        f"to {most:.1f} % ({best}) zero-shot over the superclasses, and ESI, which has learned from PTB-XL's labels, "
        f"prints {100 * esi:.1f} % without saying for which of PTB-XL's tasks; all are for the whole test set and "
        "other prompts, so no ranking follows. The simulator's ordinary beats were fitted to the signals of the same "
        "records. No record's label was used for it; one sum of labels was, once, and what it changed has stayed "
        "([protocol](book/protocol.md)). Earlier readers were scored on these records too, and the simulator was "
        "changed after that ([simulator_realism](notebooks/simulator_realism.py))."
    )
