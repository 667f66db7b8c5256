"""Candidates of one request: the code in each, equal ones together, and their order.

The rule, stated once:

1. A candidate is a *tool call* if its message calls tools; else *code* if code is found in its text; else *prose*.
2. If more candidates call tools than do not, tool calls come first, the call that most candidates agree on before
   others; a reward model for programs has no say in them.
3. Otherwise code comes first: what passed the tests (where tests were run) before what did not, then by score, the
   highest first. Code that could not be scored follows, then prose in the order drawn, then tool calls.
4. Equal candidates stand together, with the first one drawn for all. The best n are n different ones; only where there
   are fewer are equal ones given too.

Not guaranteed: that prose is any good. Where no candidate has code, the first one drawn is the answer, as without a
reranker.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewardranker.types import Json

Kind = Literal["code", "tool_calls", "prose"]
RankedBy = Literal["reward", "tests", "votes", "order"]


@dataclass(slots=True)
class Group:
    """Equal candidates: what is scored and ranked."""

    kind: Kind
    code: str
    """What the reranker reads; empty for prose and tool calls."""
    members: list[int]
    """Their numbers in the order drawn."""
    score: float | None = None
    """What it is ranked by."""
    reward: float | None = None
    """What the reward model gave it."""
    logprob: float | None = None
    """Summed log-probability of its tokens; of equal candidates, the highest."""
    passed: bool | None = None
    """Whether it passed the tests; None: none were run."""
    problem: str = ""
    """Why it could not be scored."""
    verdict: Json | None = None


@dataclass(slots=True)
class Pool:
    """All candidates of a request, as the model server gave them."""

    choices: list[Json] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, choices: Sequence[Json], codes: Sequence[str | None]) -> list[Group]:
        """Take in what was drawn.

        Args:
            codes: the code in each; None: there is none.

        Returns:
            The groups that are new.
        """
        known = len(self.groups)
        for choice, code in zip(choices, codes, strict=True):
            kind, key = _identity(choice, code)
            place = self._places.setdefault((kind, key), len(self.groups))
            if place == len(self.groups):
                self.groups.append(Group(kind, code or "" if kind == "code" else "", []))
            group = self.groups[place]
            group.members.append(len(self.choices))
            found = summed_logprob(choice)
            if found is not None:
                group.logprob = found if group.logprob is None else max(found, group.logprob)
            self.choices.append(choice)
        return self.groups[known:]

    def weigh(self, logprob_weight: float) -> bool:
        """Make every score the reward plus so many times the log-probability.

        Returns:
            False where a program has none: then all scores are the rewards alone.
        """
        scored = [group for group in self.groups if group.reward is not None]
        known = all(group.logprob is not None for group in scored)
        for group in scored:
            assert group.reward is not None
            group.score = group.reward + (logprob_weight * (group.logprob or 0.0) if known else 0.0)
        return known

    def scored(self) -> tuple[list[float], list[str]]:
        """Scores and code of all scored candidates in the order drawn, equal ones repeated."""
        found = {
            n: (group.score, group.code) for group in self.groups for n in group.members if group.score is not None
        }
        return [found[n][0] for n in sorted(found)], [found[n][1] for n in sorted(found)]

    def ranked(self) -> list[Group]:
        """The groups, best first."""
        calls_first = self._calls_first()

        def place(group: Group) -> tuple[float, ...]:
            if group.kind == "tool_calls":
                return (0.0 if calls_first else 9.0, -len(group.members), group.members[0])
            if group.kind == "prose":
                return (3.0, group.members[0])
            if group.score is None:
                return (2.0, 0.0 if group.passed else 1.0, group.members[0])
            return (1.0, 1.0 if group.passed is False else 0.0, -group.score, group.members[0])

        return sorted(self.groups, key=place)

    def ranked_by(self) -> RankedBy:
        """What decided which candidate is first."""
        if self._calls_first():
            return "votes"
        code = [group for group in self.groups if group.kind == "code"]
        if any(group.score is not None for group in code):
            return "reward"
        return "tests" if any(group.passed is not None for group in code) else "order"

    def best(self, n: int) -> list[int]:
        """The numbers of the best n candidates, in order; fewer if there are fewer."""
        ranked = self.ranked()
        first = [group.members[0] for group in ranked]
        return [*first, *(member for group in ranked for member in group.members[1:])][:n]

    def _calls_first(self) -> bool:
        calling = sum(len(group.members) for group in self.groups if group.kind == "tool_calls")
        return 2 * calling > len(self.choices)


def answer_text(choice: Json) -> str:
    """What a candidate says: the text of a completion, or the content of a chat message."""
    if "message" in choice:
        message = choice["message"]
        content = message.get("content") if isinstance(message, dict) else None
        return content if isinstance(content, str) else ""
    text = choice.get("text")
    return text if isinstance(text, str) else ""


def tool_calls(choice: Json) -> list[Json]:
    """The tools that a candidate calls."""
    message = choice.get("message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return calls if isinstance(calls, list) else []


def summed_logprob(choice: Json) -> float | None:
    """The log-probability of all tokens of a candidate; None where the model server did not tell."""
    told = choice.get("logprobs")
    if not isinstance(told, dict):
        return None
    values = told.get("token_logprobs")
    if isinstance(told.get("content"), list):
        values = [token.get("logprob") for token in told["content"] if isinstance(token, dict)]
    numbers = [value for value in values or [] if isinstance(value, int | float)]
    return float(sum(numbers)) if numbers else None


def _identity(choice: Json, code: str | None) -> tuple[Kind, str]:
    calls = tool_calls(choice)
    if calls:
        functions = [call.get("function", call) if isinstance(call, dict) else call for call in calls]
        return "tool_calls", json.dumps([_plain_arguments(function) for function in functions], sort_keys=True)
    if code is not None and code.strip():
        return "code", code
    return "prose", answer_text(choice)


def _plain_arguments(function: object) -> object:
    """A function call whose arguments are compared as values, whatever the order and spacing of their JSON."""
    if not isinstance(function, dict):
        return function
    arguments: Any = function.get("arguments")
    try:
        return {"name": function.get("name"), "arguments": json.loads(arguments)}
    except (TypeError, ValueError):
        return {"name": function.get("name"), "arguments": arguments}
