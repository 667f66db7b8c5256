"""Results in OpenAI's form: the body of an answer, its headers, and what stands under the key `rewardranker`."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from rewardranker.serving.candidates import Group, answer_text
from rewardranker.serving.engine import Result
from rewardranker.serving.source import Api, total_usage
from rewardranker.types import Json

_PREFIX = {"chat": "chatcmpl", "completions": "cmpl"}
_OBJECT = {"chat": "chat.completion", "completions": "text_completion"}


def answer(api: Api, results: Sequence[Result], all_candidates: bool) -> Json:
    """The answer to a request.

    Args:
        results: one for each prompt.
        all_candidates: list every candidate with its text.
    """
    choices = [_given(result, number) for result in results for number in result.best]
    about = results[0].about
    body: Json = {
        "id": f"{_PREFIX[api]}-{uuid.uuid4().hex}",
        "object": _OBJECT[api],
        "created": int(time.time()),
        "model": about.get("model") or results[0].job.body.get("model") or "",
        **{key: value for key, value in about.items() if key != "model"},
        "choices": [_choice(choice, index) for index, choice in enumerate(choices)],
    }
    usage = total_usage([result.usage for result in results])
    if usage:
        body["usage"] = usage
    told = [told_of(result, all_candidates) for result in results]
    body["rewardranker"] = told[0] if len(told) == 1 else {"prompts": told}
    return body


def _given(result: Result, number: int) -> Json:
    """A candidate without the log-probabilities that only the ranking needed."""
    choice = result.pool.choices[number]
    return choice if result.job.wants_logprobs else choice | {"logprobs": None}


def _choice(choice: Json, index: int) -> Json:
    """A choice as the model server gave it, with the fields that OpenAI's always has."""
    return {"finish_reason": "stop", "logprobs": None} | choice | {"index": index}


def told_of(result: Result, all_candidates: bool) -> Json:
    """What became of the candidates of one prompt."""
    pool = result.pool
    ranks = {member: rank for rank, group in enumerate(pool.ranked(), 1) for member in group.members}
    of = {member: group for group in pool.groups for member in group.members}
    numbers = result.best
    if all_candidates:
        given = set(numbers)
        rest = [number for group in pool.ranked() for number in group.members if number not in given]
        numbers = [*numbers, *rest]
    return {
        "ranked_by": pool.ranked_by(),
        "candidates": len(pool.choices),
        "asked_for": result.job.best_of,
        "distinct": len(pool.groups),
        "scored": sum(group.score is not None for group in pool.groups),
        "failed": result.failed,
        "stopped_early": result.early,
        "ranking": [
            _told_of_candidate(of[number], number, ranks[number], result, all_candidates) for number in numbers
        ],
        "warnings": result.warnings,
    }


def _told_of_candidate(group: Group, number: int, rank: int, result: Result, with_text: bool) -> Json:
    index = result.best.index(number) if number in result.best else None
    told: Json = {
        "index": index,
        "candidate": number,
        "rank": rank,
        "kind": group.kind,
        "score": group.score,
        "equal": len(group.members),
    }
    if group.reward != group.score:
        told |= {"reward": group.reward, "logprob": group.logprob}
    if group.verdict is not None:
        told["verdict"] = group.verdict
    if with_text:
        told |= {"text": answer_text(result.pool.choices[number]), "code": group.code}
    return told


def headers(results: Sequence[Result]) -> dict[str, str]:
    """The counts, for clients and proxies that do not read the body."""
    pools = [result.pool for result in results]
    found = {
        "candidates": sum(len(pool.choices) for pool in pools),
        "distinct": sum(len(pool.groups) for pool in pools),
        "failed": sum(result.failed for result in results),
        "stopped-early": str(any(result.early for result in results)).lower(),
        "ranked-by": pools[0].ranked_by(),
    }
    best = results[0].best_score
    if best is not None:
        found["score"] = f"{best:.6g}"
    return {f"x-rewardranker-{name}": str(value) for name, value in found.items()}
