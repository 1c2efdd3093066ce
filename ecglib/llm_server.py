"""Any OpenAI-compatible server as a back end: vLLM, llama.cpp, Ollama, ``transformers serve``, a hosted one.

The key is read from the environment when a run begins. It is neither an attribute nor part of a message: what a
server says is shown and kept only with the key taken out of it, and no error carries the client's own exception.
A hosted server sees every report: whether it may is a question to the data's licence.
"""

import asyncio
import email.utils
import os
import random
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

from ecglib.errors import ParameterError
from ecglib.llm_models import Deliver, Reply
from ecglib.llm_task import AnswerError, Task
from ecglib.paths import sha256_of

MAX_BACKOFF_S = 30.0
_STOPS = {  # answers that the next report would get too
    401: "does not accept the key; put a valid one into the environment variable {key}",
    403: "forbids this; put a key that may into the environment variable {key}",
    404: "knows no model '{model}' at this address; see its /models",
    429: "limits the rate and still does after {retries} retries; go on later, or with less concurrency",
}


@dataclass
class ServerModel:
    """A chat model behind an OpenAI-compatible address.

    Args:
        base_url: for instance ``http://localhost:8000/v1``, without a name, password or key in it.
        model: as the server calls it.
        api_key_env: environment variable that holds the key; a server that needs none gets the word "none".
        concurrency: requests in flight at once.
        timeout_s: for one request as a whole, its waiting and its reading.
        retries: of one request after 429, a server's error (5xx) or a lost connection; after a time-out, one.
        backoff_s: before the first retry, doubled each time with jitter; ``Retry-After`` goes before it.
        max_wait_s: a server that asks for a longer ``Retry-After`` stops the run.
        give_up_after: failures in a row that stop the run; by default 10, or twice ``concurrency`` if that is more.
        system_role: False puts the instructions before the data, for models without a system role (Gemma 2).

    Temperature and seed are fixed. Answers constrained to the schema are asked for; an option that the server refuses
    is left out from then on and named in :meth:`record` (a server may also ignore one without saying so).

    Raises:
        ParameterError: an address or number that cannot be.
    """

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout_s: float = 120.0
    retries: int = 4
    backoff_s: float = 0.5
    max_wait_s: float = 120.0
    give_up_after: int = 0
    system_role: bool = True
    temperature: float = 0.0
    seed: int = 0
    cached: bool = field(default=True, init=False)
    refused_options: list[str] = field(default_factory=list, init=False)
    retried: int = field(default=0, init=False)

    def __post_init__(self):
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ParameterError("base_url is an address like http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            self.base_url = ""
            raise ParameterError(
                f"base_url holds more than an address (a name, a password or a query); give the address alone and put "
                f"the key into the environment variable {self.api_key_env}"
            )
        at_least = {"concurrency": 1, "retries": 0, "timeout_s": 1e-3, "backoff_s": 0, "give_up_after": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ParameterError(f"{name} is at least {least}, not {getattr(self, name)}")

    def record(self) -> dict:
        """What identifies the answers: the address only as a hash, since one name is another model elsewhere."""
        return {
            "kind": "server",
            "model": self.model,
            "address_sha256": sha256_of(self.base_url.rstrip("/"), 12),
            "temperature": self.temperature,
            "seed": self.seed,
            "system_role": self.system_role,
        }

    def notes(self) -> dict:
        """What came up on the way: options that the server refused, how often a request was sent again."""
        return {"refused_options": sorted(self.refused_options), "retries": self.retried}

    def replies(self, task: Task, items: Sequence[Hashable], deliver: Deliver) -> None:
        """Ask for every item. Raises AnswerError when going on is of no use; what was delivered stays delivered."""
        problem: list[BaseException] = []
        run = _Run(self, task, items, deliver)

        def work():  # a thread of its own: a notebook's thread already has an event loop
            try:
                asyncio.run(run.all())
            except BaseException as error:
                problem.append(error)

        thread = threading.Thread(target=work, name="llm-server", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
        except BaseException:  # interrupted: requests in flight are given up
            run.cancel()
            thread.join(10)
            raise
        if problem:
            raise problem[0]


class _Stop(Exception):
    """Ends a run; its text is safe to show."""


class _Run:
    """One pass over the items: workers take places from one iterator until it is empty or one of them stops all."""

    def __init__(self, server: ServerModel, task: Task, items: Sequence[Hashable], deliver: Deliver):
        self.server, self.task, self.items, self.deliver = server, task, items, deliver
        self.key = os.environ.get(server.api_key_env, "").strip()
        self.failed_in_a_row = 0
        self.gave_up: _Stop | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.main: asyncio.Task | None = None

    def cancel(self) -> None:
        if self.loop and self.main and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.main.cancel)

    async def all(self) -> None:
        from openai import AsyncOpenAI

        self.loop, self.main = asyncio.get_running_loop(), asyncio.current_task()
        client = AsyncOpenAI(
            base_url=self.server.base_url,
            api_key=self.key or "none",
            max_retries=0,
            timeout=self.server.timeout_s,
        )
        places = count()
        async with client:
            workers = [asyncio.create_task(self.worker(client, places)) for _ in range(self.server.concurrency)]
            done, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in pending:
                worker.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        errors = [worker.exception() for worker in done if worker.exception()]
        stop = next((error for error in errors if isinstance(error, _Stop)), None)
        if stop:
            raise AnswerError(f"the server at {urlsplit(self.server.base_url).netloc} {stop}") from None
        if errors:
            raise errors[0]

    async def worker(self, client, places) -> None:
        while (place := next(places)) < len(self.items):
            reply = await self.ask(client, self.items[place])
            self.failed_in_a_row = self.failed_in_a_row + 1 if reply.status in ("failed", "timed_out") else 0
            self.deliver(place, reply)
            if self.failed_in_a_row >= (self.server.give_up_after or max(10, 2 * self.server.concurrency)):
                # Another worker's failure may arrive before this one's has stopped it: the first that gave up speaks.
                self.gave_up = self.gave_up or _Stop(
                    f"gave no answer {self.failed_in_a_row} times in a row (more are borne with give_up_after); "
                    f"the last time: {reply.reason}"
                )
                raise self.gave_up

    async def ask(self, client, item: Hashable) -> Reply:
        """One item, with retries."""
        import openai

        server, timed_out, attempt = self.server, False, 0
        while True:
            wait_s = min(server.backoff_s * 2**attempt, MAX_BACKOFF_S) * random.uniform(0.75, 1.25)
            request = self.request(item)
            try:
                async with asyncio.timeout(server.timeout_s):
                    return self.reply(await client.chat.completions.create(**request))
            except (TimeoutError, openai.APITimeoutError):
                if timed_out or server.retries == 0:
                    return Reply(status="timed_out", reason=f"no answer in {server.timeout_s:g} s")
                timed_out = True
            except openai.APIConnectionError as error:
                if attempt >= server.retries:
                    cause = type(error.__cause__ or error).__name__
                    raise _Stop(f"no longer answers ({cause} after {attempt} retries)") from None
            except openai.APIStatusError as error:
                code = error.status_code
                if code in (400, 422) and self.leave_out(error, request):
                    continue  # no retry: the next request is another one
                passing = code in (408, 409, 429) or code >= 500
                if passing and attempt < server.retries:
                    wait_s = self.wished(error.response.headers.get("retry-after"), wait_s)
                elif code in _STOPS:
                    text = _STOPS[code].format(key=server.api_key_env, model=server.model, retries=attempt)
                    raise _Stop(f"{text} ({self.said(error)})") from None
                else:
                    return Reply(status="failed", reason=self.said(error))
            except (openai.APIError, ValueError) as error:  # an answer of another shape than the protocol's
                return Reply(status="failed", reason=f"not the protocol's answer: {self.clean(str(error))[:160]}")
            attempt, server.retried = attempt + 1, server.retried + 1
            await asyncio.sleep(wait_s)

    def request(self, item: Hashable) -> dict:
        """The body of a request, without the options that this server refuses."""
        server, refused = self.server, self.server.refused_options
        system, user = self.task.system, self.task.message(item)
        if server.system_role:
            messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        else:
            messages = [{"role": "user", "content": f"{system}\n\n{user}"}]
        options = {
            "temperature": server.temperature,
            "seed": server.seed,
            "max_tokens": self.task.max_answer_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": self.task.name, "strict": True, "schema": _portable(self.task.schema)},
            },
        }
        options = {name: value for name, value in options.items() if name not in refused}
        if "max_tokens" in refused and "max_completion_tokens" not in refused:  # newer hosted models call it so
            options["max_completion_tokens"] = self.task.max_answer_tokens
        return {"model": server.model, "messages": messages, **options}

    def leave_out(self, error, request: dict) -> bool:
        """Leave out the option a server complains of; unless it names one, the constrained answer.

        False when ``request`` did not carry it, so that sending again would change nothing.
        """
        refused = self.server.refused_options
        body = error.body if isinstance(error.body, dict) else {}
        named = str(body.get("param") or "").partition(".")[0]
        optional = ("response_format", "seed", "temperature", "max_tokens", "max_completion_tokens")
        option = named if named in optional else "response_format"
        if option not in request or (named and named not in optional):
            return False
        if option not in refused:  # else another request found it out while this one was on its way
            refused.append(option)
        return True

    def wished(self, header: str | None, otherwise_s: float) -> float:
        """Seconds that ``Retry-After`` asks for: a number or a date; ``otherwise_s`` without one."""
        if not header:
            return otherwise_s
        try:
            wait_s = float(header)
        except ValueError:
            try:
                wait_s = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
            except (ValueError, TypeError):
                return otherwise_s
        if not wait_s <= self.server.max_wait_s:
            raise _Stop(
                f"asks to wait {wait_s:.0f} s, longer than max_wait_s = {self.server.max_wait_s:g}; go on later"
            )
        return max(wait_s, 0.0)

    def reply(self, completion) -> Reply:
        """The text of a completion, or that the server declined to give one."""
        choices = getattr(completion, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            return Reply(status="failed", reason="the server's answer holds no message")
        message, finish = choices[0].message, choices[0].finish_reason or "stop"
        if getattr(message, "refusal", None):
            return Reply(status="refused", reason=self.clean(str(message.refusal))[:200])
        if finish == "content_filter":
            return Reply(status="refused", reason="the server's content filter")
        return Reply(self.clean(message.content or ""), finish=finish)

    def said(self, error) -> str:
        """A server's complaint in one line, without the key."""
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message") or body.get("detail") or body.get("error") or error.body or ""
        return f"{error.status_code}: {self.clean(' '.join(str(message).split()))[:200]}"

    def clean(self, text: str) -> str:
        """``text`` without the key, should the server have repeated it."""
        # Words like "none" or "EMPTY", which local servers are given, hide nothing and may stand in any text.
        return text.replace(self.key, "<key>") if len(self.key) >= 8 else text


def _portable(schema):
    """The schema without lengths of strings, which strict servers refuse; every answer is checked against the whole."""
    if isinstance(schema, dict):
        return {key: _portable(value) for key, value in schema.items() if key != "maxLength"}
    return [_portable(value) for value in schema] if isinstance(schema, list) else schema
