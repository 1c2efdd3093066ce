"""The book's computed pages, made from a results folder of the test's own; the build itself is `make book`."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from ecglib import bibliography, bookbuild, bookchapters, bookpages, papers, results
from ecglib.data.labels import TASKS
from ecglib.errors import ResultError
from ecglib.markdown import escape, symbols, table

ROOT = Path(__file__).resolve().parents[1]
SIX = results.TASKS


def metric(method: str, dataset: str, value: float, **changes) -> dict:
    base = {"method": method, "dataset": dataset, "data_kind": "simulated", "setting": "zero-shot, clinical prompts",
            "metric": "macro_auc", "value": value, "ci_low": value - 1, "ci_high": value + 2, "n": 1234,
            "evaluator_version": "1"}  # fmt: skip
    return base | changes


def record(notebook: str, minute: int, metrics: list[dict], **changes) -> dict:
    trained = {"kind": "simulated", "role": "pretrain", "fingerprint": "feed0123", "counts": {"records": 4321}}
    return {
        "schema_version": 1, "run_id": f"20260102T03{minute:02d}00Z-00beef", "notebook": notebook, "status": "ok",
        "error": None, "parameters": {"leads": "all"}, "config": {}, "profile": "demo", "data": {"pairs": trained},
        "seed": 7, "effective_batch": 16, "steps": 10, "commit": "0123456789ab", "dirty": True,
        "versions": {"python": "3.11.7"}, "checkpoint_choice": "last step",
        "machine": {"cpu": "a cpu", "cores": 2, "memory_gb": 24.0, "device": "cpu", "precision": "float32"},
        "wall_s": 150.0, "peak_memory_mb": 100.0, "metrics": metrics, "predictions": None, "notes": "",
        "created": f"2026-01-02T03:{minute:02d}:00Z",
    } | changes  # fmt: skip


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with this project's table of contents, a run per chapter, and chapters with an output each."""
    (tmp_path / "_toc.yml").write_text((ROOT / "_toc.yml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / bibliography.BY_HAND, tmp_path / bibliography.BY_HAND)
    scores = [metric("deri", task, 80 + i) for i, task in enumerate(SIX)]
    scores += [metric("chance", task, 50.0) for task in SIX] + [metric("random-encoder", task, 52.0) for task in SIX]
    runs = {"data": [], "deri_pretrain": [], "deri_zero_shot": scores}
    named = re.findall(r"results/(\w+)/\1", (tmp_path / "_toc.yml").read_text(encoding="utf-8"))
    for minute, stem in enumerate(dict.fromkeys([*named, *bookchapters.not_run(tmp_path)])):
        results.write_record(record(stem, minute, runs.get(stem, [])), tmp_path / "results")
        output = {"output_type": "stream", "name": "stdout", "text": "1\n"}
        chapter(tmp_path, stem, [output])
    return tmp_path


def chapter(root: Path, stem: str, outputs: list[dict], count: int | None = 1) -> None:
    page = root / "results" / stem / f"{stem}.ipynb"
    page.parent.mkdir(parents=True, exist_ok=True)
    cell = {"cell_type": "code", "source": ["print(1)"], "execution_count": count, "outputs": outputs}
    page.write_text(json.dumps({"cells": [cell]}))


def made(root: Path) -> dict[str, str]:
    return bookpages.pages(bookpages.collect(root, bookchapters.page_names(root)))


def test_scoreboard_puts_printed_and_run_side_by_side(project):
    page = made(project)["scoreboard.md"]
    row = next(line for line in page.splitlines() if line.startswith("| ● DERI, clinical prompts |"))
    assert re.search(r"\{ref\}`80\.0 <run-20260102t03\d\d00z-00beef>`", row)
    assert "79.0–82.0" in row
    assert "{ref}`82.5 " in row  # the mean of the six
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    first = next(i for i, line in enumerate(lines) if "○ DERI, figure 3" in line)
    assert "78.73" in lines[first]
    assert "quoted" in lines[first + 1]
    lines = lines[first:]
    order = [i for name in ("● DERI", "random encoder", "chance", "records scored") for i, line in enumerate(lines)
             if line.startswith(f"| {name}")]  # fmt: skip
    assert order == sorted(order)
    assert "**not comparable**<br><small>simulated ECGs; profile demo</small>" in page
    assert "4,321 records" in page


def test_every_link_to_a_run_has_a_section(project):
    pages = made(project)
    for name, text in pages.items():
        for label in re.findall(r"<(run-[^>]+)>`", text):
            assert f"({label})=" in pages["provenance.md"], name


def test_provenance_holds_every_run_and_says_what_is_not_good(project):
    failed = record("deri_pretrain", 9, [], status="failed", error={"type": "OSError", "message": "disk | full"})
    results.write_record(failed, project / "results")
    page = made(project)["provenance.md"]
    assert page.count("(run-") == len(bookchapters.chapters(project)) + 1
    assert r"failed: OSError, disk \| full" in page
    assert "`0123456789ab`, with uncommitted changes" in page
    assert "2.5 min" in page
    printed = len(results.reported("deri").query("kind == 'score'"))
    assert f"| **all** | {printed} |" in page


def test_pages_without_a_single_run(tmp_path):
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\nparts: []\n")
    pages = made(tmp_path)
    assert "No run has scored this method yet" in pages["scoreboard.md"]
    assert pages["_headline.md"] == "\n"


def test_headline_shows_the_figure_that_is_there(project):
    assert "{figure}" not in made(project)["_headline.md"]
    (project / "results/comparison").mkdir(exist_ok=True)
    (project / "results/comparison/means.svg").write_text("<svg/>")
    page = made(project)["_headline.md"]
    assert "{figure} /results/comparison/means.svg" in page
    assert "{ref}`82.5 " in page


def test_headline_has_one_row_a_method_with_what_knows_nothing_below(project):
    real = [metric("deri", SIX[0], 77.0, data_kind="subset"), metric("chance", SIX[0], 50.5, data_kind="subset")]
    results.write_record(record("deri_zero_shot", 50, real), project / "results")
    scored = metric("reader", SIX[0], 87.0, data_kind="subset", setting="trained on simulated ECGs")
    results.write_record(record("simulator_realism", 51, [scored]), project / "results")
    rows = [line for line in made(project)["_headline.md"].splitlines() if line.startswith("| ")][2:]
    names = [row.split("|")[1].strip() for row in rows]
    assert names == ["DERI", "{doc}`simulator_realism </results/simulator_realism/simulator_realism>`",
                     "random encoders", "chance"]  # fmt: skip
    assert "82.5" in rows[0]  # the mean of six, not one of them
    assert "77.0" in rows[0]
    assert rows[1].split("|")[2].strip() == "–"
    assert "87.0" in rows[1]
    assert "52.0 to 52.0" in rows[2]
    assert "50.5" in rows[3]


def test_deviations_and_label_spaces_are_whole(project):
    pages = made(project)
    for stem, deviations in bookpages.collect(project, {}).deviations.items():
        assert deviations, stem
        for entry in deviations:
            assert symbols(escape(entry.here)) in pages["deviations.md"]
    for task, classes in TASKS.items():
        assert f"{len(classes)} classes" in pages["_label_spaces.md"], task
        assert all(f"| `{name}` |" in pages["_label_spaces.md"] for name in classes)


def test_generated_files_follow_the_results(project):
    stale = project / bookbuild.GENERATED / "old.md"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    written = bookbuild.generate(project)
    assert not stale.exists()
    before = {path: path.stat().st_mtime_ns for path in written}
    assert {path: path.stat().st_mtime_ns for path in bookbuild.generate(project)} == before
    named = {page for page in bookchapters.toc_pages(project) if page.startswith("book/generated/")}
    assert named == {f"book/generated/{path.stem}" for path in written if not path.name.startswith("_")}


def test_a_part_of_what_was_run_holds_no_more(project):
    """Chapters of a part with ``only: run`` come and go with their results; those of other parts are missed."""

    def part() -> list[dict]:
        return [p for p in bookchapters.contents(project)["parts"] if p["caption"] == "Reading real ECGs"]

    pages = [{"file": f"results/{stem}/{stem}"} for stem in ("train_a_reader", "simulator_realism", "read_an_ecg")]
    assert part() == [{"caption": "Reading real ECGs", "chapters": pages}]
    (project / "results/train_a_reader/train_a_reader.ipynb").unlink()
    assert part() == [{"caption": "Reading real ECGs", "chapters": pages[1:]}]
    assert bookchapters.not_run(project) == ["train_a_reader"]
    for stem in ("simulator_realism", "read_an_ecg"):
        (project / f"results/{stem}/{stem}.ipynb").unlink()
    assert part() == []
    bookchapters.check_chapters(project)
    (project / "results/data/data.ipynb").unlink()
    with pytest.raises(ResultError, match=r"results/data/data\.ipynb is missing"):
        bookchapters.check_chapters(project)


def test_missing_chapters_are_named_with_their_command(project, capsys, monkeypatch):
    bookchapters.check_chapters(project)
    (project / "results/data/data.ipynb").unlink()
    chapter(project, "deri_pretrain", [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}])
    for path in (project / "results/runs/deri_zero_shot").iterdir():
        path.unlink()
    with pytest.raises(ResultError) as caught:
        bookchapters.check_chapters(project)
    message = str(caught.value)
    assert "results/data/data.ipynb is missing: papermill notebooks/data.ipynb" in message
    assert "deri_pretrain.ipynb stopped with an error: papermill notebooks/deri_pretrain.ipynb" in message
    assert "results/runs/deri_zero_shot/ holds no good run: papermill notebooks/deri_zero_shot.ipynb" in message
    monkeypatch.setattr(bookbuild, "project_root", lambda: project)
    assert bookbuild.main([]) == 1
    assert "results/data/data.ipynb is missing" in capsys.readouterr().err
    assert not (project / bookbuild.GENERATED).exists()


def test_a_chapter_shows_its_figures(project):
    drawn = {"output_type": "display_data", "data": {"text/plain": ["<Figure size 9x9 with 1 Axes>"]}, "metadata": {}}
    chapter(project, "data", [drawn | {"data": drawn["data"] | {"image/png": "iVBO"}}])
    bookchapters.check_chapters(project)
    chapter(project, "data", [drawn])
    with pytest.raises(ResultError, match="figure as text only"):
        bookchapters.check_chapters(project)


def test_the_same_notebook_on_a_real_set_is_a_page_below_its_chapter(project):
    text = "(place)=\n# A title\n\n[here](#place) [a](../deri_pretrain/deri_pretrain) [b](../../book/protocol)"
    page = project / "results/deri_zero_shot/ptb-xl/deri_zero_shot.ipynb"
    page.parent.mkdir()
    page.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": text.splitlines(keepends=True)}]}))
    on_real = record("deri_zero_shot", 58, [metric("deri", SIX[0], 70.0, data_kind="subset")],
                     parameters={"leads": "all", "dataset": "ptb-xl"})  # fmt: skip
    results.write_record(on_real, project / "results")
    bookbuild.generate(project)
    folder = project / bookchapters.GENERATED
    written = json.loads((folder / "deri_zero_shot_ptb-xl.ipynb").read_text())["cells"][0]["source"]
    assert written.startswith("(place-ptb-xl)=\n# A title, PTB-XL records\n\n[here](#place-ptb-xl) ")
    assert written.endswith(" [a](/results/deri_pretrain/deri_pretrain) [b](/book/protocol)")
    assert "- file: book/generated/deri_zero_shot_ptb-xl" in (folder / "_toc.yml").read_text()
    assert "</book/generated/deri_zero_shot_ptb-xl>" in (folder / "scoreboard.md").read_text()
    with pytest.raises(ResultError, match=r"has no outputs: papermill .* -p dataset ptb-xl -p data_root DIR"):
        bookchapters.check_chapters(project)
    page.unlink()
    bookbuild.generate(project)
    assert not (folder / "deri_zero_shot_ptb-xl.ipynb").exists()


@pytest.mark.parametrize(("count", "message"), [(None, "was not run to its end"), (1, "has no outputs")])
def test_a_notebook_that_never_ran_is_no_chapter(project, count, message):
    chapter(project, "data", [], count)
    with pytest.raises(ResultError, match=message):
        bookchapters.check_chapters(project)


def test_readme_holds_the_finder():
    found = bookbuild.FINDER.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found, "README.md has lost the marks <!-- finder --> and <!-- /finder -->"
    assert found[0].strip() == bookbuild.finder_for_readme(), "run: python -m ecglib.bookbuild --readme"


def test_readme_holds_the_scores_of_the_reader():
    found = bookbuild.SCORES.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found, "README.md has lost the marks <!-- scores --> and <!-- /scores -->"
    assert found[0].strip() == bookbuild.scores_for_readme(ROOT), "run: python -m ecglib.bookbuild --readme"


def test_a_run_that_failed_scores_no_reader(tmp_path):
    """The newest of the runs that ended well counts, and without one there is a message."""
    from ecglib.bookreader import reader_sentence

    shutil.copytree(ROOT / "results/reader", tmp_path / "results/reader")
    with pytest.raises(ResultError, match="run it with them once"):
        reader_sentence(tmp_path)
    folder = tmp_path / "results/runs/simulator_realism"
    shutil.copytree(ROOT / "results/runs/simulator_realism", folder)
    told = reader_sentence(tmp_path)
    newest = json.loads(max(folder.glob("*.json")).read_text(encoding="utf-8"))
    failed = newest | {"status": "failed", "error": {"type": "E", "message": "stopped"}, "metrics": []}
    failed |= {"created": "2999-01-01T00:00:00Z"}
    (folder / "29990101T000000Z-000000.json").write_text(json.dumps(failed), encoding="utf-8")
    assert reader_sentence(tmp_path) == told
    assert "333 records" in told  # statements are scored on more records than superclasses
    config = tmp_path / "results/reader/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"weights_sha256": "f" * 64}))
    with pytest.raises(ResultError, match="the weights ffffffffffff"):
        reader_sentence(tmp_path)  # those scores are of another reader


def test_every_scored_run_is_in_the_table_of_readers(tmp_path):
    from ecglib.bookreader import scored_table

    folder = tmp_path / "results/runs/simulator_realism"
    shutil.copytree(ROOT / "results/runs/simulator_realism", folder)
    of_real = [r for r in map(results.read_record, folder.glob("*.json")) if r["parameters"]["dataset"] == "ptb-xl"]
    found = scored_table(tmp_path / "results")
    assert found["commit"].tolist() == [r["commit"][:7] for r in sorted(of_real, key=lambda r: r["created"])]
    first = found.iloc[0]
    assert (first["reader"], first["superclasses"]) == ("demo, seed 0", "80.3 (76.9 to 83.5)")
    assert "demo, seed 2" in set(found["reader"])
    assert found["run"].is_monotonic_increasing


def test_links_of_the_readme_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).exists(), link


def test_table_of_contents_names_pages_that_exist():
    chapters = set(bookchapters.chapters(ROOT))
    for page in bookchapters.toc_pages(ROOT):
        if not page.startswith(("results/", "book/generated/")):
            assert (ROOT / f"{page}.md").is_file(), page
    for card, _ in papers.records().values():
        assert set(card.notebooks) <= chapters | set(bookchapters.not_run(ROOT))


def test_a_paper_that_was_not_run_is_left_out_and_named(project):
    (project / "results/deri_pretrain/deri_pretrain.ipynb").unlink()
    assert "deri_pretrain" in bookchapters.not_run(project)
    assert "results/deri_pretrain/deri_pretrain" not in bookchapters.toc_pages(project)
    assert "results/deri_zero_shot/deri_zero_shot" in bookchapters.toc_pages(project)
    assert "`deri_pretrain`" in made(project)["finder.md"]  # named, without a link


def test_citations_have_entries():
    entries = bibliography.keys(bibliography.bibliography(ROOT))
    cited = {card.citation for card, _ in papers.records().values()}
    for page in [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.py")]:
        for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", page.read_text(encoding="utf-8")):
            cited |= {key.strip() for key in keys.split(",")}
    assert cited <= set(entries)
    assert f"bibtex_bibfiles: [{bookbuild.REFERENCES.as_posix()}]" in (ROOT / "_config.yml").read_text(encoding="utf-8")


def test_the_bibliography_holds_every_entry_once(project, monkeypatch):
    bookbuild.generate(project)
    written = (project / bookbuild.REFERENCES).read_text(encoding="utf-8")
    by_hand = bibliography.keys((ROOT / bibliography.BY_HAND).read_text(encoding="utf-8"))
    of_cards = [key for card, _ in papers.records().values() for key in bibliography.keys(card.bibtex)]
    assert bibliography.keys(written) == [*of_cards, *by_hand]
    records = papers.records()
    card, deviations = records["deri"]
    for changes, message in (
        ({"citation": "dery"}, r"ecglib/papers/deri\.toml: citation = 'dery', but its bibtex has no entry of that key"),
        ({"bibtex": card.bibtex * 2}, r"'deri' stands twice in ecglib/papers/deri\.toml; keep one"),
        ({"bibtex": card.bibtex + "@misc{clip,}"}, r"'clip' stands in ecglib/papers/deri\.toml and in book/references"),
    ):
        changed = records | {"deri": (dataclasses.replace(card, **changes), deviations)}
        monkeypatch.setattr(papers, "records", lambda changed=changed: changed)
        with pytest.raises(ResultError, match=message):
            bibliography.bibliography(project)
    (project / bibliography.BY_HAND).unlink()
    with pytest.raises(ResultError, match=r"references\.bib is missing: .*restore it"):
        bibliography.bibliography(project)


def test_text_from_outside_cannot_break_a_table():
    assert escape("a | b\nc * `x|y` $z$") == r"a \| b c \* `x\|y` \$z\$"
    assert symbols("D_e, SE_t, free_layers, tau") == "D<sub>e</sub>, SE<sub>t</sub>, free_layers, τ"
    assert table(["a", "b"], [["1", "2"]], "lr") == "| a | b |\n| :-- | --: |\n| 1 | 2 |"


def test_speeds_are_the_median_of_the_repeats_with_their_range(tmp_path):
    from ecglib.bookspeed import MEASURED, speeds

    assert "bench_methods.py --out" in speeds(tmp_path)
    rows = [
        {"stem": "merl", "threads": 1, "what": what, "clock_s": clock, "cpu_s": clock}
        for what, clocks in (("step", (0.25, 0.2, 0.32)), ("encoder", (0.1, 0.4, 0.2)))
        for clock in clocks
    ]
    (tmp_path / MEASURED).parent.mkdir(parents=True)
    about = {"commit": "0" * 40, "machine": {"cpu": "a cpu", "cores": 2}, "batch": 32, "versions": {}}
    (tmp_path / MEASURED).write_text(json.dumps(about | {"rows": rows}))
    row = next(line for line in speeds(tmp_path).splitlines() if "MERL" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["MERL", "1", "128 (100 to 160)", "160 (80 to 320)", "80 %"]
    assert "the median of 3 repeats, in brackets the lowest and the highest" in speeds(tmp_path)


def test_the_simulators_speed_is_the_median_of_its_streams_with_their_range(tmp_path):
    from ecglib.bookspeed import LONG_STREAM, SIMULATOR, simulator_speed

    assert "bench_simulator.py --record" in simulator_speed(tmp_path)
    rows = [
        {"hz": 100, "workers": 2, "records": 900, "clock_s": clock, "cpu_s": 1.9, "peak_mb_end": [50.2, 70.0, 71.4]}
        for clock in (2.0, 1.0, 1.25)
    ]
    rows[2]["peak_mb_end"] = [49.0, 75.0, 71.0]
    (tmp_path / SIMULATOR).parent.mkdir(parents=True)
    about = {"commit": "0" * 40, "machine": {"cpu": "a cpu", "cores": 2}, "versions": {}}
    one = [{"hz": 100, "records_per_cpu_s": 450.4, "noises_per_cpu_s": 5000.0}]
    (tmp_path / SIMULATOR).write_text(json.dumps(about | {"one_process": one, "rows": rows}))
    row = next(line for line in simulator_speed(tmp_path).splitlines() if "100 Hz" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["100 Hz", "2", "720 (450 to 900)", "1.5", "450", "50 + 75 + 71"]
    assert "the median of 3 repeats, in brackets the lowest and the highest" in simulator_speed(tmp_path)
    memory = [{"records": n, "resident_mb": mb} for n, mb in ((100, [51.2, 70.0]), (1599, [52.1, 70.4]))]
    long = about | {"rows": [{"hz": 100, "records": 1499, "memory": memory}]}
    (tmp_path / LONG_STREAM).write_text(json.dumps(long))
    told = simulator_speed(tmp_path)
    assert "One stream of 1,600 records at 100 Hz held 51 + 70 MB in all after 100 records" in told
    assert "and 52 + 70 MB at its end" in told
