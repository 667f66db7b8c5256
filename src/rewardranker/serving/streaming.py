"""The best candidates as server-sent events, in the format of OpenAI's streams.

The first event is sent when the answer is known, as no one can say before which candidate it will be; so a failure is
an ordinary error answer, never a broken stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rewardranker.serving.candidates import answer_text, tool_calls
from rewardranker.serving.source import Api
from rewardranker.serving.wire import dumps
from rewardranker.types import Json

_PIECE = re.compile(r"\s*\S+|\s+\Z")
_PIECE_WORDS = 8
DONE = "data: [DONE]\n\n"


def events(api: Api, body: Json, include_usage: bool) -> Iterator[str]:
    """The events of an answer (`answers.answer`): its choices one after the other, and at last the usage if asked for.

    The last event of a choice has its `finish_reason`; the very last one the key `rewardranker`.
    """
    head = {key: body[key] for key in ("id", "object", "created", "model", "system_fingerprint") if key in body}
    if api == "chat":
        head["object"] = "chat.completion.chunk"
    more: Json = {"usage": None} if include_usage else {}
    last = {"rewardranker": body["rewardranker"]}
    for number, choice in enumerate(body["choices"]):
        chunks = list(_chat_chunks(choice) if api == "chat" else _text_chunks(choice))
        for place, chunk in enumerate(chunks):
            at_end = number == len(body["choices"]) - 1 and place == len(chunks) - 1 and not include_usage
            yield _event(head | {"choices": [{"index": choice["index"], **chunk}]} | more | (last if at_end else {}))
    if include_usage:
        yield _event(head | {"choices": [], "usage": body.get("usage")} | last)
    yield DONE


def _chat_chunks(choice: Json) -> Iterator[Json]:
    """Parts of a chat choice: the role, the text in pieces (its log-probabilities with the first), the tool calls."""
    logprobs = choice.get("logprobs")
    rest = {key: value for key, value in choice["message"].items() if key not in ("role", "content", "tool_calls")}
    yield _delta({"role": choice["message"].get("role", "assistant"), "content": ""} | rest)
    for piece in pieces(answer_text(choice)):
        yield _delta({"content": piece}, logprobs)
        logprobs = None
    calls = tool_calls(choice)
    if calls:
        numbered = [{"index": place, **call} for place, call in enumerate(calls) if isinstance(call, dict)]
        yield _delta({"tool_calls": numbered})
    yield _delta({}, logprobs) | {"finish_reason": choice.get("finish_reason")}


def _text_chunks(choice: Json) -> Iterator[Json]:
    """Parts of a completion choice."""
    logprobs = choice.get("logprobs")
    for piece in pieces(answer_text(choice)):
        yield {"text": piece, "logprobs": logprobs, "finish_reason": None}
        logprobs = None
    yield {"text": "", "logprobs": logprobs, "finish_reason": choice.get("finish_reason")}


def pieces(text: str) -> Iterator[str]:
    """A text in parts of a few words, which joined are the text."""
    words = _PIECE.findall(text)
    for start in range(0, len(words), _PIECE_WORDS):
        yield "".join(words[start : start + _PIECE_WORDS])


def _delta(delta: Json, logprobs: Json | None = None) -> Json:
    return {"delta": delta, "logprobs": logprobs, "finish_reason": None}


def _event(chunk: Json) -> str:
    return f"data: {dumps(chunk)}\n\n"
