"""The book's chapters: executed notebooks in results/, one page each, and the table of contents that holds them.

``results/<stem>/<stem>.ipynb`` is the chapter that ``_toc.yml`` or a paper's card names. The same notebook run on a
real set lies in ``results/<stem>/<dataset>/`` and becomes a page of its own below that chapter, when it is there.
"""

import copy
import json
import re
from pathlib import Path

from ecglib import papers
from ecglib.errors import ResultError
from ecglib.markdown import TASK_NAMES, paper_name

GENERATED = Path("book/generated")
ONLY = "only"  # key of a part of _toc.yml whose chapters stand in the book once they were run


def contents(root: Path) -> dict:
    """``_toc.yml`` with one part per paper in place of ``{papers}``: those of its card's notebooks that were run.

    Of a part that says ``only: run`` the chapters that were run stand there; a part without any is left out.
    """
    toc, missing, of_papers = _toc(root), not_run(root), []
    for stem, (card, _) in papers.records().items():
        pages = [{"file": f"results/{name}/{name}"} for name in card.notebooks if name not in missing]
        of_papers += [{"caption": paper_name(stem), "chapters": pages}] if pages else []
    parts = [of_papers if part["caption"] == "{papers}" else _those_run(part, missing) for part in toc["parts"]]
    return toc | {"parts": [part for several in parts for part in several]}


def _toc(root: Path) -> dict:
    import yaml

    path = root / "_toc.yml"
    if not path.is_file():
        raise ResultError("_toc.yml not found: run make book in a clone of the project")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _those_run(part: dict, missing: list[str]) -> list[dict]:
    """The part as Jupyter Book takes it, in a list that is empty when none of its chapters was run."""
    if ONLY not in part:
        return [part]
    kept = [page for page in part["chapters"] if page["file"].rpartition("/")[2] not in missing]
    return [{key: value for key, value in part.items() if key != ONLY} | {"chapters": kept}] if kept else []


def not_run(root: Path) -> list[str]:
    """Notebooks that a paper's card or a part of ``_toc.yml`` with ``only: run`` names and whose chapter is not in
    results/: the book is built without them."""
    named = [name for card, _ in papers.records().values() for name in card.notebooks]
    named += [page["file"].rpartition("/")[2] for part in _toc(root)["parts"] if ONLY in part
              for page in part["chapters"]]  # fmt: skip
    return [name for name in named if not (root / "results" / name / f"{name}.ipynb").is_file()]


def toc_pages(root: Path) -> list[str]:
    """Every page of `contents`, without suffix, in reading order."""

    def walk(node: object):
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for entry in node:
                yield from walk(entry)

    return list(walk(contents(root)))


def chapters(root: Path) -> list[str]:
    """Stems of the notebooks that are chapters: ``results/<stem>/<stem>`` in the table of contents."""
    matches = (re.fullmatch(r"results/(\w+)/\1", page) for page in toc_pages(root))
    return [match[1] for match in matches if match]


def check_chapters(root: Path) -> None:
    """ResultError naming every chapter that is missing, unfinished or without a good run record, and its command."""
    problems = []
    for stem in chapters(root):
        page = root / "results" / stem / f"{stem}.ipynb"
        problem = _unfit(page) if page.is_file() else "is missing"
        if problem:
            problems.append(f"results/{stem}/{stem}.ipynb {problem}: papermill notebooks/{stem}.ipynb")
        elif not any(json.loads(record.read_text(encoding="utf-8")).get("status") == "ok"
                     for record in (root / "results" / "runs" / stem).glob("*.json")):  # fmt: skip
            problems.append(f"results/runs/{stem}/ holds no good run: papermill notebooks/{stem}.ipynb")
    for (stem, dataset), page in variants(root).items():
        if problem := _unfit(page):
            command = f"papermill notebooks/{stem}.ipynb -p dataset {dataset} -p data_root DIR"
            problems.append(f"results/{stem}/{dataset}/{stem}.ipynb {problem}: {command}")
    if problems:
        raise ResultError("The book needs its executed chapters; make them with the command behind each:\n  "
                          + "\n  ".join(problems))  # fmt: skip


def _unfit(page: Path) -> str:
    """What keeps an executed notebook out of the book, or ""."""
    try:
        cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError):
        return "is no notebook"
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if any(output["output_type"] == "error" for cell in code for output in cell["outputs"]):
        return "stopped with an error"
    if any(cell.get("execution_count") is None for cell in code if "".join(cell["source"]).strip()):
        return "was not run to its end"
    shown = [output.get("data", {}) for cell in code for output in cell["outputs"]]
    if any(len(data) == 1 and "".join(data.get("text/plain", "")).startswith("<Figure size") for data in shown):
        return "shows a figure as text only (figures.show draws it)"
    return "" if any(cell["outputs"] for cell in code) else "has no outputs"


def variants(root: Path) -> dict[tuple[str, str], Path]:
    """(stem, data set) -> executed notebook, for chapters that were also run on a real set."""
    found = {}
    for stem in chapters(root):
        for path in sorted((root / "results" / stem).glob(f"*/{stem}.ipynb")):
            if path.parent.name.startswith(("seed-", "recipe-", "reader-")):
                continue
            found[stem, path.parent.name] = path
    return found


def page_names(root: Path) -> dict[tuple[str, str], str]:
    """(stem, data set) -> page of the book, counted from the root and without suffix."""
    names = {(stem, "simulated"): f"results/{stem}/{stem}" for stem in chapters(root)}
    return names | {(stem, kind): (GENERATED / f"{stem}_{kind}").as_posix() for stem, kind in variants(root)}


def variant_page(notebook: dict, dataset: str) -> dict:
    """The executed notebook as a second page: data set in title and labels, links counted from the root."""
    notebook = copy.deepcopy(notebook)
    prose = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    for cell in prose:
        text = "".join(cell["source"])
        text = re.sub(r"^\(([\w-]+)\)=$", rf"(\1-{dataset})=", text, flags=re.MULTILINE)  # labels are unique
        text = re.sub(r"\]\(#([\w-]+)\)", rf"](#\1-{dataset})", text)
        cell["source"] = re.sub(r"\]\(\.\./", "](/results/", re.sub(r"\]\(\.\./\.\./", "](/", text))
    title = re.compile(r"^# (.*)$", re.MULTILINE)
    first = next(cell for cell in prose if title.search(cell["source"]))
    of = f"{TASK_NAMES.get(dataset, dataset)} records"
    first["source"] = title.sub(lambda m: f"# {m[1]}{'' if m[1].endswith('?') else ','} {of}", first["source"], count=1)
    return notebook


def toc_with_variants(root: Path) -> dict:
    """`contents` with every page of `variants` as a section below its chapter."""
    toc = contents(root)
    names = page_names(root)

    def add(node: object) -> None:
        if isinstance(node, dict):
            more = [{"file": names[key]} for key in variants(root) if node.get("file") == f"results/{key[0]}/{key[0]}"]
            if more:
                node["sections"] = node.get("sections", []) + more
                return
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            add(child)

    add(toc)
    return toc
