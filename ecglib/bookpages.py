"""The book's computed pages, as Markdown: nothing here is typed by hand, all of it follows from results/ and the cards.

Each page is a function of :class:`Material`; ``ecglib.bookbuild`` writes them to ``book/generated/``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ecglib import papers, results
from ecglib.bookscores import provenance, scoreboard
from ecglib.data.labels import TASKS
from ecglib.knowledge import class_name
from ecglib.markdown import TASK_NAMES, chapter_link, escape, interval, paper_name, run_link, symbols, table
from ecglib.papers.card import Card, Deviation

if TYPE_CHECKING:
    from ecglib.profiles import Profile

COMPARISON = "comparison"  # the chapter whose picture stands on the first page
READER = "simulator_realism"  # the chapter that scores the reader


@dataclass(frozen=True)
class Material:
    """What the pages are made of."""

    records: list[dict]  # newest first
    runs: pd.DataFrame  # ecglib.results.read_runs
    cards: dict[str, Card]
    deviations: dict[str, tuple[Deviation, ...]]
    chapters: Mapping[tuple[str, str], str]  # notebook, data set -> page
    pictures: dict[str, str]  # notebook -> its figure for the first page, counted from the project's root


def collect(root: Path, chapters: Mapping[tuple[str, str], str]) -> Material:
    """Read all run records under ``root/results`` and the cards. ResultError names a record that is damaged."""
    files = sorted((root / "results" / "runs").glob("*/*.json"))
    records = sorted(map(results.read_record, files), key=lambda r: (r["created"], r["run_id"]), reverse=True)
    read = papers.records()
    pictures = {}
    for kind in ("png", "svg"):  # the svg where both exist
        path = f"results/{COMPARISON}/means.{kind}"
        if (root / path).is_file():
            pictures[COMPARISON] = path
    return Material(
        records=records,
        runs=results.read_runs(root / "results"),
        cards={stem: card for stem, (card, _) in read.items()},
        deviations={stem: deviations for stem, (_, deviations) in read.items()},
        chapters=chapters,
        pictures=pictures,
    )


def pages(material: Material) -> dict[str, str]:
    """File name -> Markdown of every page and fragment that goes to ``book/generated``."""
    made = {
        "scoreboard.md": scoreboard(material),
        "finder.md": finder(material),
        "deviations.md": deviations(material),
        "provenance.md": provenance(material),
        "_label_spaces.md": label_spaces(),
        "_profiles.md": profiles(),
        "_headline.md": headline(material),
    }
    return {name: re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" for name, text in made.items()}


# Where things are


def finder_table(cards: Sequence[Card], chapters: Mapping[tuple[str, str], str] | None = None) -> str:
    """The finder: what a newcomer looks for, one column per paper.

    With ``chapters`` notebooks lead to the book's pages; without, as in README.md, files and notebooks are links.
    """

    def file(paths: str) -> str:
        names = {path: f"`{path.rpartition('/')[2]}`" for path in paths.split(", ")}
        return "<br>".join(name if chapters is not None else f"[{name}]({path})" for path, name in names.items())

    def notebook(stem: str) -> str:
        return chapter_link(stem, chapters) if chapters is not None else f"[{stem}](notebooks/{stem}.ipynb)"

    rows = {
        "Method, configuration": [file(c.method) for c in cards],
        "Loss": [file(c.loss) for c in cards],
        "ECG encoder": [file(c.ecg_encoder) for c in cards],
        "Text encoder": [file(c.text_encoder) for c in cards],
        "Pre-training data": [escape(c.pretraining_data) for c in cards],
        "Evaluations": [escape(", ".join(c.evaluations)) for c in cards],
        "Notebooks": ["<br>".join(map(notebook, c.notebooks)) for c in cards],
        "Exhibits run here": [", ".join(c.exhibits).replace("-", " ") for c in cards],
    }
    return table(["", *(paper_name(c.stem) for c in cards)], [[name, *cells] for name, cells in rows.items()])


def finder(material: Material) -> str:
    cards = list(material.cards.values())
    adds = "\n".join(f"- **{paper_name(c.stem)}** {{cite:p}}`{c.citation}`. {escape(c.adds)}" for c in cards)
    return "\n\n".join([
        "# Where is it?",
        "Each paper is one file that composes shared parts. This table is made from the cards beside those files "
        "(`ecglib/papers/*.toml`); `*deri*` finds everything of DERI in a listing, and so for the others.",
        finder_table(cards, material.chapters), "## What each paper adds", adds,
    ])  # fmt: skip


def deviations(material: Material) -> str:
    """As printed, as released, as here: three cards side by side, one below the other on a phone."""
    parts = [
        "# Deviations",
        "Where a paper is open, contradicts itself or differs from its released code, one reading had to be chosen. "
        "Every such place is listed with what the paper prints, what the released code does and what is done here.",
    ]
    for stem, card in material.cards.items():
        parts += [f"## {paper_name(stem)}", f"{escape(card.title)} {{cite:p}}`{card.citation}`."]
        for entry in material.deviations[stem]:
            said = {"As printed": entry.printed, "As released": entry.released, "Here": entry.here}
            cards = "\n\n".join(
                f":::{{grid-item-card}} {name}\n:class-card: {name.split()[-1].lower()}\n{symbols(escape(text))}\n:::"
                for name, text in said.items()
            )
            switch = f"Argument that chooses another reading: `{entry.switch}`." if entry.switch else ""
            parts += [f"### {escape(entry.where)}", f"::::{{grid}} 1 1 3 3\n:gutter: 2\n\n{cards}\n::::", switch]
    return "\n\n".join(parts)


# Fragments that hand-written pages include


def label_spaces() -> str:
    """The six tasks: sizes as DERI's table 8 prints them, and the classes with their plain names."""
    printed = results.reported("deri").query("kind == 'count'")
    size = {(r.dataset, r.metric): r.value for r in printed.itertuples()}
    columns = ("n_train", "n_valid", "n_test")
    rows = [
        [TASK_NAMES[task], str(len(classes)), *(f"{int(size[task, column]):,}" for column in columns)]
        for task, classes in TASKS.items()
    ]
    parts = [table(["Task", "Classes", "Training", "Validation", "Test"], rows, "lrrrr")]
    for task, classes in TASKS.items():
        named = table(["Class", "Meaning"], [[f"`{c}`", escape(class_name(task, c))] for c in classes])
        parts.append(f"::::{{dropdown}} {TASK_NAMES[task]}: {len(classes)} classes\n{named}\n::::")
    return "\n\n".join(parts)


def profiles() -> str:
    """What each profile means, one column each."""
    from ecglib.profiles import PROFILES  # imports torch

    rows = {
        "machine": [p.machine for p in PROFILES.values()],
        "pairs to train on, if simulated": [f"{p.n_pretrain:,}" for p in PROFILES.values()],
        "passes over them": [_of_paper(p, str(p.schedule.epochs)) for p in PROFILES.values()],
        "pairs per step": [_of_paper(p, f"{p.schedule.batch_size:,}") for p in PROFILES.values()],
        "sampling rate": [f"{p.sampling_rate_hz} Hz" for p in PROFILES.values()],
        "network": ["reduced" if p.demo_size else "the paper's" for p in PROFILES.values()],
        "text encoder": [_of_paper(p, {"minilm": "MiniLM"}.get(p.text_encoder, "")) for p in PROFILES.values()],
        "records scored, if simulated": [
            "<br>".join(f"{name} {n:,}" for name, n in p.n_evaluate.items()) for p in PROFILES.values()
        ],
    }
    return table(["", *(f"`{name}`" for name in PROFILES)], [[name, *cells] for name, cells in rows.items()])


def _of_paper(profile: "Profile", value: str) -> str:
    """``value``, unless the profile leaves it to each paper's file."""
    return value if profile.text_encoder else "each paper's own"


# Columns of the first page's table: title, kinds of data, data set
_SCORED = (
    ("simulated, mean of six tasks", ("simulated",), "average"),
    ("real PTB-XL, superclasses", ("subset", "paper"), "ptbxl-super"),
)


def _mean_scores(material: Material) -> list[list[str]]:
    """One row a method, in its own first setting, then the reader, untrained encoders of all methods, and chance."""
    newest = results.latest(results.with_averages(material.runs))
    newest = newest[newest.metric == "macro_auc"]
    of_papers = {stem: newest[newest.notebook.isin(card.notebooks)] for stem, card in material.cards.items()}

    def first(scores: pd.DataFrame, method: str, kinds: Sequence[str], dataset: str) -> Any | None:
        own = scores[(scores.method == method) & (scores.dataset == dataset) & scores.data_kind.isin(kinds)]
        return next(own.itertuples(), None)

    def cells(scores: pd.DataFrame, method: str) -> list[str]:
        found = [first(scores, method, *column) for _, *column in _SCORED]
        return [run_link(f"{r.value:.1f}", r.run_id) + interval(r.ci_low, r.ci_high) if r else "–" for r in found]

    rows = [[paper_name(stem), *cells(scores, stem)] for stem, scores in of_papers.items()]
    rows.append([chapter_link(READER, material.chapters), *cells(newest[newest.notebook == READER], "reader")])
    rows = [row for row in rows if set(row[1:]) != {"–"}]
    untrained = []
    for _, *column in _SCORED:
        found = [first(scores, "random-encoder", *column) for scores in of_papers.values()]
        values = [row.value for row in found if row]
        untrained.append(f"{min(values):.1f} to {max(values):.1f}" if values else "–")
    chance = cells(pd.concat(of_papers.values()), "chance")
    return rows and [*rows, ["random encoders", *untrained], ["chance", *chance]]


def headline(material: Material) -> str:
    """Picture and newest mean scores for the first page; empty when nothing has been scored."""
    parts = []
    for notebook, path in material.pictures.items():
        parts.append(
            f"```{{figure}} /{path}\n:name: fig-headline-{notebook.replace('_', '-')}\n:width: 100%\n"
            f"All methods on equal data and steps, from {chapter_link(notebook, material.chapters)}: diamonds are "
            "means over seeds with a 95 % interval, open dots the seeds, the dotted line chance. Simulated: mean of "
            "six tasks; real PTB-XL: mean of its four.\n```"
        )
    rows = _mean_scores(material)
    if rows:
        parts.append(table(["Macro AUC, %", *(title for title, _, _ in _SCORED)], rows, "lrr"))
    return "\n\n".join(parts)
