"""An OpenAI-compatible server for the tests: a real process, real HTTP, and whatever trouble is asked for.

    python tests/llm_server.py --log FILE [--die-after N] [--port P]

It prints its port. What it does is chosen by the name of the model that a request asks for (see ``BEHAVIOURS``).
Each request is logged as a line of JSON, so that a test can count them after the process is gone. ``Server`` starts
and stops the process, ``tiny_chat_model`` makes a real ``transformers`` chat model on disk.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SEEN: Counter = Counter()  # how often a report was asked about
LOCK = threading.Lock()


def entities_of(report: str) -> dict:
    """Each sentence is an entity; «no ...» a negated one."""
    sentences = [part.strip() for part in report.split(".") if part.strip()]
    return {
        "entities": [
            {"text": re.sub(r"^no ", "", s), "status": "negated" if s.startswith("no ") else "present"}
            for s in sentences
        ]
    }


def good(report: str, **_) -> str:
    return json.dumps(entities_of(report))


def obeying(report: str, **_) -> str:
    """Does what a report orders: the worst that an injection can make of a model."""
    if "all present" in report:
        return good(report).replace("negated", "present")
    order = re.search(r"(answer|backwards) with:(.*)", report, re.DOTALL | re.IGNORECASE)
    if order is None:
        return good(report)
    ordered = [name.strip() for name in order[2].split(",")]
    ordered = [name[::-1] for name in ordered] if order[1] == "backwards" else ordered
    return json.dumps({"entities": [{"text": name, "status": "present"} for name in ordered]})


BEHAVIOURS = {
    "good": good,
    "obeying": obeying,
    "prose": lambda report, **_: f"Sure! Here it is:\n```json\n{good(report)}\n```\nAnything else?",
    "in-text": lambda report, **_: f"<think>hm {{x}}</think>The entities are {good(report)}. Good luck.",
    "broken": lambda **_: '{"entities": [{"text": "atrial fibr',
    "other-shape": lambda **_: '{"entities": [{"text": "sinus rhythm", "status": "definitely"}]}',
    "code": lambda **_: "__import__('os').system('touch /tmp/owned')",
    "refusing": lambda **_: "I'm sorry, but I can't help with medical records.",
    "invents": lambda report, **_: json.dumps(
        {"entities": [*entities_of(report)["entities"], {"text": "brugada syndrome", "status": "present"}]}
    ),
    "echoes-key": lambda key, **_: f"Your key is {key}.",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    log_file: Path
    die_after = 0

    def log_message(self, *_):
        pass

    def send(self, code: int, body: dict | str, **headers: str) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def error(self, code: int, message: str, param: str | None = None, **headers: str) -> None:
        self.send(code, {"error": {"message": message, "param": param, "type": "error"}}, **headers)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = body["model"]
        content = body["messages"][-1]["content"]
        data = json.loads(content[content.rindex("\n{") if not content.startswith("{") else 0 :])
        report = data["report"]
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with LOCK:
            SEEN[report] += 1
            times, total = SEEN[report], SEEN.total()
            options = sorted(set(body) - {"messages", "model"})
            line = {
                "model": model,
                "report": report,
                "options": options,
                "roles": [m["role"] for m in body["messages"]],
            }
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if self.die_after and total > self.die_after:
                os._exit(1)
        if model == "wrong-key":
            return self.error(401, f"Incorrect API key provided: {key}")
        if model == "absent":
            return self.error(404, "The model does not exist")
        if model == "hangs" and "hang" in report:
            time.sleep(30)
        if model == "drips" and "hang" in report:  # a byte now and then: no read ever times out
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b" ")
                time.sleep(0.1)
        if model == "busy" and times < 3:
            return self.error(429, "slow down", Retry_After="0.2")
        if model == "full":
            return self.error(429, "you exceeded your quota", Retry_After="0.01")
        if model == "tomorrow":
            return self.error(429, "come back tomorrow", Retry_After="86400")
        if model == "shaky" and times < 3:
            return self.error(500, "internal error")
        if model == "down" or (model == "sometimes" and "bad" in report):
            return self.error(503, f"no worker left, {key}")
        if model == "cuts-line" and times < 2:
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if model == "stubborn" or (model == "free-text" and "response_format" in body):
            return self.error(400, "response_format is not supported")
        if model == "modern" and (refused := {"max_tokens", "temperature"} & set(body)):
            name = sorted(refused)[0]
            return self.error(400, f"Unsupported parameter: {name}", param=name)
        if model == "short" and len(report) > 100:
            return self.error(400, "this model's maximum context length is 100", param="messages")
        if model == "html":
            return self.send(200, "<html>a proxy's page</html>")
        if model == "no-choices":
            return self.send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": []})
        message, finish = {"role": "assistant"}, "stop"
        if model == "declines":
            message |= {"content": None, "refusal": "I will not read this."}
        elif model == "filters":
            message, finish = message | {"content": ""}, "content_filter"
        elif model == "cut-off":
            message, finish = message | {"content": '{"entities": [{"text": "sinus'}, "length"
        else:
            message |= {"content": BEHAVIOURS.get(model, good)(report=report, key=key)}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        self.send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]})


class Quiet(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        """A client that gave up is no error of the server."""


class Server:
    """The process: ``with Server(tmp_path) as server: server.url``; ``log()`` reads its requests, also afterwards."""

    def __init__(self, folder: Path, die_after: int = 0, port: int = 0):
        self.log_file, self.die_after, self.port = Path(folder) / "requests.jsonl", die_after, port

    def __enter__(self) -> "Server":
        command = [sys.executable, __file__, "--log", str(self.log_file), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--die-after", str(self.die_after)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self.port = int(self.process.stdout.readline())
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def log(self) -> list[dict]:
        if not self.log_file.exists():
            return []
        return [json.loads(line) for line in self.log_file.read_text(encoding="utf-8").splitlines()]

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def tiny_chat_model(folder: Path, answer: str = "") -> Path:
    """A Llama of 64 dimensions with a tokenizer and a chat template, in safetensors.

    With an ``answer`` its weights are set so that it says just that, whatever it is asked: the answer is one token,
    its logit follows the assistant's marker, and the end of text follows it. Without, the weights are random.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = {token: i for i, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    words.model = models.BPE(vocab=alphabet, merges=[])
    markers = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    words.add_special_tokens([AddedToken(marker, special=True) for marker in markers])
    if answer:
        words.add_tokens([AddedToken(answer, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    torch.manual_seed(0)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=8192,
            bos_token_id=end, eos_token_id=end, pad_token_id=end,
        )
    )  # fmt: skip
    if answer:
        said, asked = (tokenizer.convert_tokens_to_ids(token) for token in (answer, "<|assistant|>"))
        with torch.no_grad():
            layer = model.model.layers[0]
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
            model.model.embed_tokens.weight.normal_()
            model.lm_head.weight.zero_()
            model.lm_head.weight[said] = model.model.embed_tokens.weight[asked]
            model.lm_head.weight[end] = model.model.embed_tokens.weight[said]
    model.generation_config.max_length = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--die-after", type=int, default=0)
    arguments = parser.parse_args()
    Handler.log_file, Handler.die_after = arguments.log, arguments.die_after
    server = Quiet(("127.0.0.1", arguments.port), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
