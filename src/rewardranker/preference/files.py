"""Preference data on disk: our groups, and the plain pairs that other tools write and read.

Plain pairs have TRL's columns `prompt`, `chosen`, `rejected`, as texts or as chat messages; `prompt` may be missing
where `chosen` and `rejected` are conversations that begin alike. Not read: conversations of several turns, since a
program answers one request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError
from rewardranker.runs import from_row
from rewardranker.types import Candidate, PreferenceGroup


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of plain pairs."""

    task_id: str
    prompt: str
    chosen: str
    rejected: str
    number: int
    """Line in the file, or row of the set."""


def read_groups(path: str | Path) -> list[PreferenceGroup]:
    """Read preference groups, or plain pairs, from a JSON Lines file.

    Pairs with the same prompt become one group, unless a completion is chosen in one and rejected in another: then
    the pairs of that prompt stay groups of two, named `TASK#LINE`. A pair without `task_id` gets one from its prompt.

    Raises:
        DataError: no such file, an empty one, broken JSON, a missing or wrong column, a group without candidates, a
            task twice, or a pair in both directions; names file, line and column.
    """
    path = Path(path)
    groups: dict[str, PreferenceGroup] = {}
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for number, row in _rows(path):
        where = f"{path}:{number}"
        if "candidates" in row:
            group = from_row(row, PreferenceGroup, where)
            if not group.candidates:
                raise DataError(f"{where}: column 'candidates' is empty; remove this line")
            _add(groups, group, where)
        elif "chosen" in row and "rejected" in row:
            pair = _pair(row, number, where)
            pairs.setdefault((pair.task_id, pair.prompt), []).append(pair)
        else:
            have = ", ".join(sorted(row)) or "none"
            raise DataError(
                f"{where}: expected a group (columns task_id, prompt, candidates) or a pair (columns prompt, chosen, "
                f"rejected); columns here: {have}"
            )
    for same in pairs.values():
        for group, number in groups_of(same, path):
            _add(groups, group, f"{path}:{number}")
    if not groups:
        raise DataError(
            f"{path}: the file has no records (expected preference groups, or pairs of prompt, chosen, rejected)"
        )
    return list(groups.values())


def to_pairs(groups: Iterable[PreferenceGroup]) -> Iterator[dict[str, Any]]:
    """Every (correct, wrong) pair as a row with TRL's columns and where both came from."""
    for group in groups:
        for chosen in group.correct:
            for rejected in group.wrong:
                row: dict[str, Any] = {
                    "prompt": group.prompt,
                    "chosen": chosen.completion,
                    "rejected": rejected.completion,
                    "task_id": group.task_id,
                }
                for name, candidate in (("chosen", chosen), ("rejected", rejected)):
                    for column in _PROVENANCE:
                        row[f"{name}_{column}"] = getattr(candidate, column)
                yield row


_PROVENANCE = (
    "sample_id",
    "status",
    "fraction",
    "origin",
    "model",
    "round",
    "seed",
    "temperature",
    "top_p",
    "mined_score",
)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"{path}:{number}: broken JSON ({error.msg} at column {error.colno}); repair or "
                        "remove this line"
                    ) from None
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: expected a JSON object, got {type(row).__name__}")
                yield number, row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file (expected preference groups or pairs)") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder (expected a JSON Lines file of preference groups or pairs)") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text near byte {error.start}; is it compressed or binary?") from None


def _add(groups: dict[str, PreferenceGroup], group: PreferenceGroup, where: str) -> None:
    if group.task_id in groups:
        raise DataError(
            f"{where}: column 'task_id': '{group.task_id}' occurs twice; put all its candidates in one group"
        )
    groups[group.task_id] = group


def _pair(row: Mapping[str, Any], number: int, where: str) -> Pair:
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if prompt is None:
        shared = _shared_start(chosen, rejected, where)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    prompt = _prompt(prompt, where)
    pair = Pair(
        task_id=str(row.get("task_id") or "pairs-" + hashlib.sha256(prompt.encode()).hexdigest()[:16]),
        prompt=prompt,
        chosen=_answer(chosen, f"{where}: column 'chosen'"),
        rejected=_answer(rejected, f"{where}: column 'rejected'"),
        number=number,
    )
    if pair.chosen == pair.rejected:
        raise DataError(f"{where}: columns 'chosen' and 'rejected' are equal; remove this line")
    return pair


def _shared_start(chosen: Any, rejected: Any, where: str) -> int:
    """Number of messages with which both conversations begin."""
    if not (isinstance(chosen, list) and isinstance(rejected, list)):
        raise DataError(
            f"{where}: column 'prompt' is missing; only where 'chosen' and 'rejected' are lists of messages is it read "
            "from their common start"
        )
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        raise DataError(
            f"{where}: columns 'chosen' and 'rejected' do not begin with the same request, and 'prompt' is missing"
        )
    return shared


def _prompt(value: Any, where: str) -> str:
    """A request as text; a system message comes before the user's, an empty line between."""
    where = f"{where}: column 'prompt'"
    if isinstance(value, str):
        return value
    messages = _messages(value, where)
    roles = [role for role, _ in messages]
    if roles not in (["user"], ["system", "user"]):
        raise DataError(
            f"{where}: expected one user message, after a system message or not; got roles {', '.join(roles)}"
        )
    return "\n\n".join(content for _, content in messages)


def _answer(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    messages = _messages(value, where)
    if [role for role, _ in messages] != ["assistant"]:
        roles = ", ".join(role for role, _ in messages)
        raise DataError(f"{where}: expected one assistant message, got roles {roles}; several turns are not read")
    return messages[0][1]


def _messages(value: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{where}: expected a text or a list of messages, got {type(value).__name__} {str(value)[:60]!r}"
        )
    messages = []
    for index, message in enumerate(value):
        if not (
            isinstance(message, dict)
            and isinstance(message.get("role"), str)
            and isinstance(message.get("content"), str)
        ):
            raise DataError(
                f"{where}[{index}]: expected a message with texts 'role' and 'content', got {str(message)[:60]!r}"
            )
        messages.append((message["role"], message["content"]))
    return messages


def groups_of(pairs: Sequence[Pair], path: str | Path) -> Iterator[tuple[PreferenceGroup, int]]:
    """One group of all pairs with a prompt, or, where they contradict each other as classes, one of each.

    Yields:
        The group and the number of its first pair.

    Raises:
        DataError: a pair is there in both directions.
    """
    first = pairs[0]
    directions: dict[tuple[str, str], int] = {}
    for pair in pairs:
        if (opposite := directions.get((pair.rejected, pair.chosen))) is not None:
            raise DataError(
                f"{path}:{pair.number}: columns 'chosen' and 'rejected' are those of line {opposite} the other "
                "way round"
            )
        directions.setdefault((pair.chosen, pair.rejected), pair.number)
    chosen = dict.fromkeys(pair.chosen for pair in pairs)
    rejected = dict.fromkeys(pair.rejected for pair in pairs)
    if chosen.keys() & rejected.keys():
        for (good, bad), number in directions.items():
            candidates = (_candidate(good, True), _candidate(bad, False))
            yield PreferenceGroup(f"{first.task_id}#{number}", first.prompt, candidates), number
    else:
        everything = (*(_candidate(c, True) for c in chosen), *(_candidate(c, False) for c in rejected))
        yield PreferenceGroup(first.task_id, first.prompt, everything), first.number


def _candidate(completion: str, passed: bool) -> Candidate:
    return Candidate(completion, passed, float(passed), origin="pair")
