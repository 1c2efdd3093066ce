"""What the shipped reader is worth on real records, in words for README.md: every number from a run record."""

from pathlib import Path

from ecglib import results
from ecglib.checkpoint import weights_named
from ecglib.errors import ResultError


def reader_sentence(root: Path) -> str:
    """The newest scores of ``results/reader`` on real PTB-XL records, beside the printed ones of zero-shot methods.

    Raises ResultError without a run record of these weights.
    """
    records = [results.read_record(path) for path in sorted((root / "results/runs/simulator_realism").glob("*.json"))]
    usual = {"dataset": "ptb-xl", "reader": "results/reader", "seed": 0}
    whose = weights_named(root / "results/reader")
    records = [
        record
        for record in records
        if record["status"] == "ok" and usual.items() <= record["parameters"].items() and whose in record["notes"]
    ]
    if not records:
        raise ResultError(
            f"no run record of simulator_realism with dataset ptb-xl, seed 0 and the {whose} in results/reader; run it "
            "with them once"
        )
    newest = max(records, key=lambda record: record["created"])
    rows = [row for row in newest["metrics"] if row["method"] == "reader" and row["data_kind"] != "simulated"]
    whole = {row["dataset"]: row for row in rows if row["metric"] == "macro_auc"}

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
        f"On real PTB-XL records its macro AUC is {score('ptbxl-super')} over the five super-classes and "
        f"{score('ptb-xl')} over {count} statements. Methods that learned from real ECGs print {least:.1f} % ({worst}) "
        f"to {most:.1f} % ({best}) zero-shot over the super-classes, and ESI, which has learned from PTB-XL's labels "
        f"and does not say for which of its tasks, {100 * esi:.1f} %; those are for PTB-XL's whole test set and other "
        "prompts, so no ranking follows. The simulator's ordinary beats were fitted to the signals of the same "
        "records. No record's label was used for it; one sum of labels was, once, and what it changed has stayed "
        "([protocol](book/protocol.md)). Earlier readers were scored on these records too, and the simulator was "
        "changed after that ([simulator_realism](notebooks/simulator_realism.py))."
    )
