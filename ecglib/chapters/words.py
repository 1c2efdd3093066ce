"""The step of the simulator's chapter that compares words: simulated cart reports beside real statements."""

from IPython.display import Markdown, display

from ecglib.data.simulated import simulated_store
from ecglib.datasets import HELD_OUT_SEED, PRETRAINING_COHORT
from ecglib.knowledge.measure import read_statements
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.report_realism import TextGap, text_gap
from ecglib.run import Run
from ecglib.tables import set_out

N_REPORTS = 12_000
_SHOWN = {
    "n_statements": "distinct statements",
    "word_for_word": "word for word, %",
    "vocabulary": "of their vocabulary, %",
    "hedged": "hedged, %",
}


def compared(run: Run) -> TextGap | None:
    """Simulated pre-training reports against the real statements in ``statements_root``; None, said so, without it."""
    folder, seed = run.params["statements_root"], run.params["seed"]
    if not folder:
        print("no statements_root: the words of real reports are not compared")
        return None
    reports = simulated_store(PRETRAINING_COHORT, N_REPORTS, seed + HELD_OUT_SEED, 100.0).records["report"].tolist()
    found = text_gap(reports, read_statements(folder))
    shown = found.table[list(_SHOWN)].rename(columns=_SHOWN).reset_index()
    shown["distinct statements"] = [f"{n:,.0f}" for n in shown["distinct statements"]]
    shown["part"] = shown["part"].replace({"generated": "simulated, found among the real"})
    display(set_out(shown, ["part"]))
    display(
        Markdown("Said most often, and by no real cart: " + "; ".join(f"*{text}*" for text, _ in found.never_real[:6]))
    )
    return found


def rows(found: TextGap | None) -> list[dict]:
    """Shares of real statements that simulated reports produce, as entries of a run record's ``metrics``."""
    if found is None:
        return []
    return [
        {
            "method": "simulator",
            "dataset": PRETRAINING_COHORT,
            "data_kind": "subset",
            "setting": f"real statements, {part}",
            "metric": f"percent_{name}",
            "value": float(found.table.loc[part, name]),
            "ci_low": None,
            "ci_high": None,
            "n": int(found.table.loc[part, "n_statements"]),
            "evaluator_version": EVALUATOR_VERSION,
        }
        for part in ("all", "in view", "held out")
        for name in ("word_for_word", "vocabulary")
    ]


def in_words(found: TextGap | None) -> list[str]:
    """The comparison in words, every number computed."""
    if found is None:
        return []
    whole, unseen, own = (found.table.loc[part] for part in ("all", "held out", "generated"))
    return [
        f"Simulated reports produce {whole.word_for_word:.1f} % of {whole.n_statements:.0f} distinct real statements "
        f"word for word ({unseen.word_for_word:.1f} % of those that were not in view when the grammar was written) and "
        f"contain {whole.vocabulary:.1f} % of their vocabulary. Of their distinct statements {own.hedged:.1f} % are "
        f"hedged, of the real ones {whole.hedged:.1f} %."
    ]
