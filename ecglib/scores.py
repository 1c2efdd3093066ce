"""Print the newest score table and where the executed chapters lie: ``python -m ecglib.scores deri_zero_shot``."""

import os
import sys
from pathlib import Path

import pandas as pd

from ecglib._papermill_argv import aside
from ecglib.paths import project_root
from ecglib.results import read_record, read_runs
from ecglib.tables import score_frame


def main(stems: list[str], results_dir: str = "results") -> int:
    """Scores of the newest good run of the first notebook, then one line per notebook. Returns the exit code."""
    runs = read_runs(results_dir, status="ok")
    runs = runs[(runs["notebook"] == stems[0]) & runs["metric"].notna()]
    if runs.empty:
        print(f"no run of {stems[0]} is recorded in {results_dir}; make one: papermill notebooks/{stems[0]}.ipynb")
        return 1
    newest = runs[runs["run_id"] == runs.sort_values(["created", "run_id"])["run_id"].iloc[-1]]
    first = newest.iloc[0]
    print("\nMacro AUC in percent, 95 % interval over patients.", end=" ")
    print(f"Data: {first['data_kind']}. Profile: {first['profile']}.")
    print("Random encoder: mean of untrained networks and 1.96 standard deviations between them.\n")
    print(_stacked(score_frame(newest)))
    print(f"\nrun record        {results_dir}/{first['file']}")
    parameters = read_record(Path(results_dir, first["file"]))["parameters"]
    for stem in stems:
        beside = aside(parameters) if stem == stems[0] else []  # its data set and seed are its own
        chapter = Path(results_dir, stem, *beside, f"{stem}.ipynb")
        print(f"executed chapter  {chapter if chapter.is_file() else f'{chapter} is not kept'}")
    print("read them in the book: make book")
    return 0


def _stacked(frame: pd.DataFrame) -> str:
    """Data sets as rows, methods as columns: fits 80 columns of a terminal, one block per setting."""
    blocks = []
    keys = ["setting"] if "setting" in frame else []
    for setting, block in frame.groupby(keys, sort=False) if keys else [("", frame)]:
        turned = block.drop(columns=keys).set_index("method").T
        turned.columns.name = None
        title = setting[0] if isinstance(setting, tuple) else setting
        blocks.append((f"{title}\n" if title else "") + turned.to_string(justify="right"))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    os.chdir(project_root())
    sys.exit(main(sys.argv[1:] or ["deri_zero_shot"]))
