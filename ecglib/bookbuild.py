"""``make book``: write the computed pages from results/, then build the book with every warning an error.

    python -m ecglib.bookbuild            # builds, says which file to open
    python -m ecglib.bookbuild --readme   # only renews the finder table in README.md

Nothing is executed and nothing is fetched: the chapters are the executed notebooks in results/.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from ecglib.errors import ResultError
from ecglib.paths import atomic_write, project_root

GENERATED = Path("book/generated")
INDEX = Path("_build/html/index.html")
FINDER = re.compile(r"(?<=<!-- finder -->\n).*?(?=<!-- /finder -->)", re.DOTALL)


def toc_pages(root: Path) -> list[str]:
    """Every page that ``_toc.yml`` names, without suffix, in reading order."""
    import yaml

    def walk(node: object):
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for entry in node:
                yield from walk(entry)

    path = root / "_toc.yml"
    if not path.is_file():
        raise ResultError("_toc.yml not found: run make book in a clone of the project")
    return list(walk(yaml.safe_load(path.read_text(encoding="utf-8"))))


def chapters(root: Path) -> list[str]:
    """Stems of the notebooks that are chapters: ``results/<stem>/<stem>`` in ``_toc.yml``."""
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
        return "has a figure that is only shown as text"
    return "" if any(cell["outputs"] for cell in code) else "has no outputs"


def generate(root: Path) -> list[Path]:
    """Write ``book/generated`` from results/ and the cards; files that are no longer made are removed."""
    from ecglib.bookpages import collect, pages

    made = {root / GENERATED / name: text for name, text in pages(collect(root, chapters(root))).items()}
    for old in (root / GENERATED).glob("*.md"):
        if old not in made:
            old.unlink()
    for path, text in made.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            atomic_write(path, text)
    return list(made)


def finder_for_readme() -> str:
    """The finder table as README.md holds it."""
    from ecglib.bookpages import finder_table, read_cards

    return finder_table([card for card, _ in read_cards().values()])


def build(root: Path) -> None:
    """Run Jupyter Book from scratch; ResultError when it warns or fails, with what it printed shown first."""
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", ".", "--all", "-W", "-n", "--keep-going", "-q"]
    run = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if "No module named jupyter_book" in run.stdout:
        raise ResultError('jupyter-book is not installed: pip install -c requirements/lock.txt -e ".[book]"')
    if run.returncode != 0 or not (root / INDEX).is_file():
        print(run.stdout)
        raise ResultError("The book was not built: see the messages above; a warning counts as an error.")


def main(arguments: list[str]) -> int:
    start, root = time.perf_counter(), project_root()
    try:
        if arguments == ["--readme"]:
            readme = root / "README.md"
            atomic_write(readme, FINDER.sub(lambda _: finder_for_readme() + "\n", readme.read_text(encoding="utf-8")))
            return 0
        if arguments:
            raise ResultError(f"unknown argument {arguments[0]!r}; there is only --readme")
        check_chapters(root)
        generate(root)
        build(root)
    except ResultError as error:
        print(error, file=sys.stderr)
        return 1
    count = len(toc_pages(root))
    print(f"Book of {count} pages built in {time.perf_counter() - start:.0f} s. Open {INDEX}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
