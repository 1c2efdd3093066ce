"""Ask a language model about reports: one interface, three back ends, answers checked against the report.

>>> from ecglib import report_tasks
>>> answers = ask(report_tasks.ENTITIES, ["atrial fibrillation. no st elevation"])
>>> [entity["text"] for entity in answers.values[0]["entities"]]
['atrial fibrillation', 'st elevation']

The back end is the embedded knowledge base unless another is given: ``backend("local:<folder>")`` for a chat model of
``transformers`` on this machine, ``backend("http://localhost:8000/v1#<model>")`` for any OpenAI-compatible server.
"""

import json
import sys
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecglib.errors import ParameterError
from ecglib.llm_cache import AnswerCache
from ecglib.llm_models import Backend, KnowledgeBase, LocalModel, Reply, backend
from ecglib.llm_task import AnswerError, MalformedAnswer, Task, is_refusal
from ecglib.paths import sha256_of
from ecglib.scrub import without_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answer", "AnswerError", "Answers", "KnowledgeBase", "LocalModel", "Task", "ask", "backend"]

# What can become of a report. Only "answered" has a value; "empty" was never asked.
STATUSES = ("answered", "refused", "malformed", "timed_out", "failed", "empty")


@dataclass(frozen=True)
class Answer:
    """What became of one report: its checked answer, or why there is none."""

    status: str  # one of STATUSES
    value: dict | None = None
    dropped: tuple[str, ...] = ()  # one reason for each part of the answer that the check did not keep
    reason: str = ""
    shortened: bool = False  # the model saw only the beginning of the report


@dataclass(frozen=True)
class Answers:
    """One answer for each report, in order, and how they came about."""

    task: Task
    items: tuple[Hashable, ...]
    answers: tuple[Answer, ...]
    model: dict  # the back end's own record: kind, model, settings; never a key or an address
    notes: dict  # of this call: how many were asked, how many came from the cache, retries, refused options

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, place: int) -> Answer:
        return self.answers[place]

    @property
    def values(self) -> list[dict | None]:
        """The checked answers; None where there is none."""
        return [answer.value for answer in self.answers]

    def summary(self) -> dict[str, Any]:
        """For a run record: task, model and counts, over all reports (a report that occurs twice counts twice)."""
        counts = Counter(answer.status for answer in self.answers)
        reasons = Counter(reason.partition(":")[0] for answer in self.answers for reason in answer.dropped)
        return {
            "task": self.task.name,
            "task_version": self.task.version,
            "instructions_sha256": sha256_of(self.task.system, 12),
            "question_sha256": self.task.fingerprint,
            "model": self.model,
            "reports": len(self.answers),
            "distinct": len(set(self.items)),
            **{status: counts[status] for status in STATUSES},
            "shortened": sum(answer.shortened for answer in self.answers),
            "dropped": sum(reasons.values()),
            "dropped_because": dict(sorted(reasons.items())),
            **self.notes,
        }

    def table(self) -> "pd.DataFrame":
        """One row per report: report, status, answer (JSON), dropped (how many), reason."""
        import pandas as pd

        rows = [
            {
                "report": item if isinstance(item, str) else " | ".join(self.task.data(item).values()),
                "status": answer.status,
                "answer": "" if answer.value is None else json.dumps(answer.value, ensure_ascii=False),
                "dropped": len(answer.dropped),
                "reason": answer.reason or "; ".join(answer.dropped),
            }
            for item, answer in zip(self.items, self.answers, strict=True)
        ]
        return pd.DataFrame(rows, columns=["report", "status", "answer", "dropped", "reason"])


def ask(
    task: Task, reports: Iterable[Hashable], model: Backend | str = "knowledge", *, again: Iterable[str] = ()
) -> Answers:
    """Ask ``task`` of every distinct report once; answers come back for all, in order.

    Answers of a model are kept on disk as they arrive, and a later call asks only what is missing: answers that are
    there (a refused or malformed one too, since at temperature 0 it would come again), but never a time-out or a
    server's error. The check is applied to kept answers anew.

    Args:
        reports: strings, or the tuples that the task's ``data`` understands.
        model: a back end, or the name of one as :func:`backend` takes it.
        again: kept answers to ask for once more: "refused", "malformed".

    Raises:
        AnswerError: the server is gone, or refuses every request alike. What was answered is kept.
        ParameterError: a report is not a string or tuple; a status in ``again`` that is never kept.
    """
    again = {again} if isinstance(again, str) else set(again)
    if wrong := again - {"refused", "malformed"}:
        raise ParameterError(f"again takes 'refused' and 'malformed', which are kept on disk, not {sorted(wrong)}")
    items = _checked(reports)
    model = backend(model) if isinstance(model, str) else model
    record = model.record()
    retries = _retries(model)
    cache = AnswerCache(task.name, task.fingerprint, record) if model.cached else None
    got = _before(task, dict.fromkeys(items), cache)
    got = {item: answer for item, answer in got.items() if answer.status not in again}
    todo = [item for item in dict.fromkeys(items) if item not in got]
    from_cache = sum(answer.status != "empty" for answer in got.values())
    _fill(task, model, todo, got, cache)
    notes = {"asked": len(todo), "from_cache": from_cache, "damaged_lines": cache.damaged if cache else 0}
    notes |= getattr(model, "notes", dict)() | {"retries": _retries(model) - retries}
    shown = {name: without_path(value) for name, value in record.items()}  # some servers call a model by its folder
    return Answers(task, items, tuple(got[item] for item in items), shown, notes)


def _checked(reports: Iterable[Hashable]) -> tuple[Hashable, ...]:
    if isinstance(reports, str):
        raise ParameterError("reports is a list of reports, not one string")
    items = tuple(reports)
    for item in items:
        if not isinstance(item, str | tuple):
            raise ParameterError(f"a report is a string, not {type(item).__name__}; reports.clean() makes '' of None")
    return items


def _retries(model: Backend) -> int:
    return getattr(model, "notes", dict)().get("retries", 0)


def _before(task: Task, items: Iterable[Hashable], cache: AnswerCache | None) -> dict[Hashable, Answer]:
    """What is known without asking: blank items, and answers on disk."""
    got = {}
    for item in items:
        if task.is_blank(item):
            got[item] = Answer("empty", reason="nothing to ask: no letter or digit in it")
        elif cache and (entry := cache.get(task.message(item))):
            got[item] = _answer(task, item, Reply(*entry), shortened=task.is_shortened(item))
    return got


def _fill(
    task: Task, model: Backend, todo: list[Hashable], got: dict[Hashable, Answer], cache: AnswerCache | None
) -> None:
    """Ask for ``todo`` and put the answers into ``got`` (and on disk) as they come."""
    from tqdm import tqdm

    done = 0
    with tqdm(total=len(todo), desc=f"{task.name} asked", disable=not (model.cached and sys.stderr.isatty())) as bar:

        def deliver(place: int, reply: Reply) -> None:
            nonlocal done
            item = todo[place]
            got[item] = _answer(task, item, reply, shortened=model.cached and task.is_shortened(item))
            kept = cache is not None and not reply.status
            if kept:
                cache.put(task.message(item), reply.text, reply.finish)
            done += kept
            bar.update()

        try:
            if todo:
                model.replies(task, todo, deliver)
        except AnswerError as error:
            raise AnswerError(
                f"{error}. Of {len(todo):,} reports to ask about, {done:,} are answered and kept on disk; run the same "
                f"call again when the server answers: it asks for the other {len(todo) - done:,} only"
            ) from None
        finally:
            if cache:
                cache.close()
    if lost := [item for item in todo if item not in got]:
        raise AnswerError(f"the back end {model.record()['kind']} gave no reply for {len(lost)} of {len(todo)} reports")


def _answer(task: Task, item: Hashable, reply: Reply, shortened: bool = False) -> Answer:
    """A reply, read, validated and checked against the report."""
    if reply.status:
        return Answer(reply.status, reason=reply.reason, shortened=shortened)
    try:
        value, dropped = task.check(item, task.read(reply.text))
    except MalformedAnswer as error:
        if is_refusal(reply.text):
            return Answer("refused", reason=" ".join(reply.text.split())[:200], shortened=shortened)
        reason = f"cut off after {task.max_answer_tokens} tokens" if reply.finish == "length" else str(error)
        return Answer("malformed", reason=reason, shortened=shortened)
    return Answer("answered", value, tuple(dropped), shortened=shortened)
