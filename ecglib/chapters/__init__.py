"""What the chapters of all papers do alike, so that a notebook shows its paper and not plumbing.

``pretraining`` and ``zero_shot`` hold the steps of those chapters, one call a cell; what is here serves any chapter.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown, display
from torch import nn

from ecglib import figures
from ecglib.papers.card import Deviation
from ecglib.paths import sha256_of


def source(*objects: Any) -> None:
    """Show the source of functions or methods, as they stand in the package."""
    for of in objects:
        display(Markdown(f"```python\n{inspect.cleandoc(chr(10) + inspect.getsource(of))}\n```"))


def sizes(parts: Mapping[str, nn.Module], printed: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Parameter counts of parts, beside what the paper prints where it does."""
    counts = {name: f"{sum(p.numel() for p in part.parameters()):,}" for name, part in parts.items()}
    table = pd.DataFrame({"parameters": counts})
    return table if printed is None else table.assign(paper=[printed.get(name, "not given") for name in counts])


def facts(title: str, rows: Mapping[str, str]) -> Any:
    """Short texts by name as a table, none of them cut."""
    table = pd.DataFrame({title: dict(rows)})
    return table.style.set_properties(**{"text-align": "left"}).set_uuid(sha256_of(table.to_csv(), 8))


def schedules(printed: Mapping[str, float], schedule: Any, where: str) -> pd.DataFrame:
    """The paper's schedule, ``printed``, beside this run's; ``where`` names section or table."""
    here = {
        "epochs": schedule.epochs,
        "records per step": schedule.batch_size,
        "peak learning rate": schedule.lr,
        "weight decay": schedule.weight_decay,
    }
    beside = pd.DataFrame({f"paper, {where}": printed, "this run": here}).reindex(list(here))
    return beside.map(lambda value: "not given" if pd.isna(value) else f"{value:g}")


def deviations(listed: Sequence[Deviation]) -> Markdown:
    """The deviations as a list."""
    return Markdown("\n".join(f"* **{d.where}.** Printed: {d.printed} Here: {d.here}" for d in listed))


def show_ecg(store: Any, row: int, title: str, report: str) -> Any:
    """One record on clinical paper, with its report."""
    fig = figures.plot_ecg(store.read([row])[0], store.sampling_rate_hz, title=title, report=report)
    return figures.show(fig)
