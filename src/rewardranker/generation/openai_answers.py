"""What OpenAI-compatible servers say, in one form: which server it is, which models it has, what it wrote.

Log-probabilities come in OpenAI's two forms (lists beside the tokens; a list of objects), which servers do not keep
apart by path, and some servers add token ids: llama.cpp in each object, vLLM beside the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import ModelServerError

_STOPS = ("stop", "eos", "stop_sequence", "end_turn", "eos_token")
_FAILURES = ("abort", "error")

_WHOLE_DISTRIBUTION: Mapping[str, Mapping[str, Any]] = {
    "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "llamacpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
}
"""By what a server calls itself: what it must be told to draw by temperature and top-p alone. vLLM and SGLang take
other settings from the model's folder, llama.cpp has its own (the 40 most probable tokens); hosted servers would refuse
the keys."""


@dataclass(frozen=True, slots=True)
class Models:
    """What a server offers."""

    names: tuple[str, ...]
    kind: str
    """`vllm`, `sglang`, `llamacpp`, or another word; empty where the server does not say."""

    @property
    def request_fields(self) -> Mapping[str, Any]:
        """Fields for every request, so that temperature and top-p alone decide what is drawn."""
        return _WHOLE_DISTRIBUTION.get(self.kind, {})


@dataclass(frozen=True, slots=True)
class Choice:
    """One text that a server wrote."""

    text: str
    finish_reason: str
    """`stop` or `length`; what a server cut for a reason of its own counts as `length`."""
    token_ids: tuple[int, ...] = ()
    token_texts: tuple[str, ...] = ()
    token_logprobs: tuple[float, ...] = ()

    def cut(self, texts: Sequence[str]) -> Choice:
        """This choice up to the first of these texts; tokens up to the one that completes it."""
        places = [(self.text.find(text), len(text)) for text in texts if text in self.text]
        if not places:
            return self
        start, length = min(places)
        kept, written = 0, 0
        while kept < len(self.token_texts) and written < start + length:
            written += len(self.token_texts[kept])
            kept += 1
        return Choice(
            self.text[:start],
            "stop",
            self.token_ids[:kept],
            self.token_texts[:kept],
            self.token_logprobs[:kept],
        )


def read_models(answer: Mapping[str, Any]) -> Models:
    """What `/v1/models` says."""
    rows = [row for row in answer.get("data") or [] if isinstance(row, Mapping)]
    names = [name for row in rows for name in (row.get("id"), *(row.get("aliases") or ())) if name]
    kinds = {str(row.get("owned_by") or "") for row in rows}
    return Models(tuple(dict.fromkeys(names)), kinds.pop() if len(kinds) == 1 else "")


def read_choices(answer: Mapping[str, Any], url: str) -> list[Choice]:
    """The texts of an answer, in the order of their numbers.

    Raises:
        ModelServerError: the answer has no choices, one has no text, or the server gave one up.
    """
    rows = answer.get("choices")
    if not isinstance(rows, list) or not rows:
        raise ModelServerError(f"{url}: the answer has no choices: is this an OpenAI-compatible server?", url=url)
    return [_choice(row, url) for row in sorted(rows, key=lambda row: row.get("index") or 0)]


def _choice(row: Mapping[str, Any], url: str) -> Choice:
    if "message" in row:
        text = row["message"].get("content") or ""  # null where a model only reasoned, or called a tool
    elif "text" in row:
        text = row["text"] or ""
    else:
        raise ModelServerError(f"{url}: a choice has neither text nor message: {str(row)[:200]}", url=url)
    reason = row.get("finish_reason") or "stop"
    if reason in _FAILURES:
        raise ModelServerError(
            f"{url}: the server gave a request up (finish_reason {reason!r}): look into its log, and run this again",
            url=url,
            may_pass=True,
        )
    ids, texts, logprobs = _tokens(row.get("logprobs") or {})
    return Choice(text, "stop" if reason in _STOPS else "length", tuple(row.get("token_ids") or ids), texts, logprobs)


def _tokens(found: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[str, ...], tuple[float, ...]]:
    """Ids (empty where not given), texts and log-probabilities of the tokens."""
    rows = found.get("content")
    if rows:
        ids = tuple(int(row["id"]) for row in rows if "id" in row)
        return ids, tuple(row["token"] for row in rows), tuple(float(row["logprob"]) for row in rows)
    values = found.get("token_logprobs") or ()
    if any(value is None for value in values):  # the first token of all has none, where a server counts the prompt
        return (), (), ()
    return (), tuple(found.get("tokens") or ()), tuple(float(value) for value in values)
