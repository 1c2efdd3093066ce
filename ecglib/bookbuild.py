"""``make book``: write the computed pages from results/, then build the book with every warning an error.

    python -m ecglib.bookbuild            # builds, says which file to open
    python -m ecglib.bookbuild --readme   # only renews the finder table and the reader's scores in README.md

Nothing is executed and nothing is fetched: the chapters are the executed notebooks in results/.
"""

import json
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from ecglib.bibliography import bibliography
from ecglib.bookchapters import (
    GENERATED,
    check_chapters,
    not_run,
    page_names,
    toc_pages,
    toc_with_variants,
    variant_page,
    variants,
)
from ecglib.bookspeed import simulator_speed, speeds
from ecglib.errors import ResultError
from ecglib.paths import atomic_write, project_root

TOC = GENERATED / "_toc.yml"
REFERENCES = GENERATED / "_references.bib"  # named in _config.yml
INDEX = Path("_build/html/index.html")
FINDER = re.compile(r"(?<=<!-- finder -->\n).*?(?=<!-- /finder -->)", re.DOTALL)
SCORES = re.compile(r"(?<=<!-- scores -->\n).*?(?=<!-- /scores -->)", re.DOTALL)


def generate(root: Path) -> list[Path]:
    """Write ``book/generated`` from results/ and the cards; files that are no longer made are removed."""
    import yaml

    from ecglib.bookpages import collect, pages

    made = {root / GENERATED / name: text for name, text in pages(collect(root, page_names(root))).items()}
    for (stem, dataset), path in variants(root).items():
        page = variant_page(json.loads(path.read_text(encoding="utf-8")), dataset)
        made[root / GENERATED / f"{stem}_{dataset}.ipynb"] = json.dumps(page, indent=1, ensure_ascii=False)
    made[root / REFERENCES] = bibliography(root)
    made[root / GENERATED / "_speeds.md"] = speeds(root) + "\n"
    made[root / GENERATED / "_simulator_speed.md"] = simulator_speed(root) + "\n"
    made[root / TOC] = yaml.safe_dump(toc_with_variants(root), sort_keys=False)
    for old in (root / GENERATED).glob("*"):
        if old not in made:
            old.unlink()
    for path, text in made.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            atomic_write(path, text)
    return list(made)


def finder_for_readme() -> str:
    """The finder table as README.md holds it."""
    from ecglib import papers
    from ecglib.bookpages import finder_table

    return finder_table([card for card, _ in papers.records().values()])


def scores_for_readme(root: Path) -> str:
    """What the shipped reader scored on real records, as README.md holds it."""
    from ecglib.bookreader import reader_sentence

    return textwrap.fill(reader_sentence(root), 120, break_long_words=False, break_on_hyphens=False)


def build(root: Path) -> None:
    """Run Jupyter Book from scratch; ResultError when it warns or fails, with what it printed shown first."""
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", ".", "--toc", str(TOC)]
    command += ["--all", "-W", "-n", "--keep-going", "-q"]
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
            text = FINDER.sub(lambda _: finder_for_readme() + "\n", (root / "README.md").read_text(encoding="utf-8"))
            atomic_write(root / "README.md", SCORES.sub(lambda _: scores_for_readme(root) + "\n", text))
            return 0
        if arguments:
            raise ResultError(f"unknown argument {arguments[0]!r}; there is only --readme")
        check_chapters(root)
        generate(root)
        build(root)
    except ResultError as error:
        print(error, file=sys.stderr)
        return 1
    if missing := not_run(root):
        commands = "".join(f"\n  papermill notebooks/{name}.ipynb" for name in missing)
        print(f"Not in the book, since they have not been run:{commands}")
    count = len(toc_pages(root)) + len(variants(root))
    print(f"Book of {count} pages built in {time.perf_counter() - start:.0f} s. Open {INDEX}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
