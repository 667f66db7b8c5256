"""An OpenAI-compatible server on loopback whose answers and faults a test decides. Real HTTP, no model.

with FakeOpenAI() as server:
    server.faults += [Fault(429, {"Retry-After": "0"}), CUT]     # for the next requests, in order
    ...                                                          # server.url, server.requests, server.most_at_once
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What a request gets in place of an answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "injected", "type": "fault"}}'


CUT = Fault(0)
"""The connection is closed in the middle of the answer."""


def echo(prompt: str, seed: int | None, index: int) -> list[str]:
    """The default answer, as tokens: it depends on the prompt, the seed and the choice's number alone."""
    return ["    return", f" {seed}", f" + {index}", f"  # {len(prompt)}", "\n"]


class FakeOpenAI:
    """`/v1/models`, `/v1/completions` and `/v1/chat/completions`."""

    def __init__(
        self,
        write: Callable[[str, int | None, int], list[str]] = echo,
        *,
        models: tuple[str, ...] = ("tiny",),
        choices: int | None = None,
        logprobs: bool = True,
        finish_reason: str = "stop",
        seconds: float = 0.0,
        port: int = 0,
    ) -> None:
        """
        Args:
            write: (prompt or joined messages, seed of the request, number of the choice) -> tokens.
            choices: at most so many in an answer, whatever `n` asks for.
            logprobs: given where asked for.
            seconds: each answer takes so long.
            port: 0 takes a free one.
        """
        self.write, self.models, self.choices, self.logprobs = write, models, choices, logprobs
        self.finish_reason, self.seconds, self._port = finish_reason, seconds, port
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, Json, dict[str, str]]] = []
        """Path, body and headers of each POST, in order of arrival."""
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def __enter__(self) -> FakeOpenAI:
        fake = self

        class Handler(_Handler):
            server_state = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._server.socket.listen(256)  # else it is 5, and who comes sixth at a time waits for a second
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def bodies(self) -> list[Json]:
        return [body for _, body, _ in self.requests]

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Inside, one more request is under way."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def next_fault(self) -> Fault | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else None

    def answer(self, path: str, body: Json) -> tuple[int, Json]:
        if body.get("model") not in self.models:
            return 404, {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}}
        chat = path == "/v1/chat/completions"
        prompt = "\n".join(m["content"] for m in body["messages"]) if chat else body["prompt"]
        count = min(body.get("n") or 1, self.choices or 1 << 30)
        choices = [self._choice(chat, body, self.write(prompt, body.get("seed"), i), i) for i in range(count)]
        used = sum(len(self.write(prompt, body.get("seed"), i)) for i in range(count))
        usage = {"prompt_tokens": len(prompt), "completion_tokens": used, "total_tokens": len(prompt) + used}
        kind = "chat.completion" if chat else "text_completion"
        return 200, {"id": "1", "object": kind, "model": body["model"], "choices": choices, "usage": usage}

    def _choice(self, chat: bool, body: Json, tokens: list[str], index: int) -> Json:
        values = [-0.5 - 0.25 * place for place in range(len(tokens))]
        choice: Json = {"index": index, "finish_reason": self.finish_reason, "logprobs": None}
        if self.logprobs and body.get("logprobs") is not None:
            listed = [{"token": t, "logprob": v, "top_logprobs": []} for t, v in zip(tokens, values, strict=True)]
            choice["logprobs"] = {"content": listed} if chat else {"tokens": tokens, "token_logprobs": values}
        text = "".join(tokens)
        return choice | ({"message": {"role": "assistant", "content": text}} if chat else {"text": text})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FakeOpenAI

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": name} for name in self.server_state.models]})
        else:
            self._send(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.counted():
            state.requests.append((self.path, body, dict(self.headers)))
            time.sleep(state.seconds)
            fault = state.next_fault()
            if fault is CUT:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                self.close_connection = True
            elif fault is not None:
                self._send(fault.status, fault.body, fault.headers)
            else:
                self._send(*state.answer(self.path, body))

    def _send(self, status: int, body: Json | str, headers: Mapping[str, str] = {}) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
