"""Reads the records that an evaluation joins, and says of a cut-off last line what it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rewardranker.errors import DataError
from rewardranker.runs import read_records, write_records
from rewardranker.types import Ranking

T = TypeVar("T")


def read_all(path: str | Path, cls: type[T]) -> list[T]:
    """All records of a JSON Lines file.

    Raises:
        DataError: as `runs.read_records`; of a last line without its end it says that the file is not complete.
    """
    records = []
    try:
        for record in read_records(path, cls):
            records.append(record)
    except DataError as error:
        lines = _cut_off_line(Path(path))
        if lines is not None and str(error).startswith(f"{path}:{lines}:"):
            raise DataError(
                f"{path}:{lines}: the last line is cut off, so the file is not complete: give the command that wrote "
                "it again, it goes on there; or remove this line"
            ) from None
        raise
    return records


def read_rankings(path: str | Path) -> dict[str, list[Ranking]]:
    """The rankings of a file, by ranker. JSON has no infinities: such a score is the text "inf" or "-inf".

    Raises:
        DataError: as `read_all`.
    """
    by_ranker: dict[str, list[Ranking]] = {}
    for row in read_all(path, _Row):
        scores = []
        for score in row.scores:
            if isinstance(score, str) and score not in ("inf", "-inf"):
                raise DataError(
                    f"{path}: task '{row.task_id}' has a score {score!r} of '{row.ranker}': expected a number, or "
                    'the text "inf" or "-inf"'
                )
            scores.append(float(score))
        ranking = Ranking(row.task_id, row.ranker, row.sample_ids, tuple(scores))
        by_ranker.setdefault(row.ranker, []).append(ranking)
    return by_ranker


@dataclass(frozen=True, slots=True)
class _Row:
    """A ranking as it is in a file."""

    task_id: str
    ranker: str
    sample_ids: tuple[int, ...]
    scores: tuple[float | str, ...]


def write_rankings(path: str | Path, rankings: Iterable[Ranking]) -> int:
    """Write rankings that `read_rankings` reads. Returns how many."""
    return write_records(path, (_row(ranking) for ranking in rankings))


def _row(ranking: Ranking) -> _Row:
    scores = tuple(score if math.isfinite(score) else str(score) for score in ranking.scores)
    return _Row(ranking.task_id, ranking.ranker, ranking.sample_ids, scores)


def _cut_off_line(path: Path) -> int | None:
    """The number of a last line that does not end; None where the file is whole or can't be read."""
    if not path.is_file():
        return None
    number, ends = 0, True
    with path.open("rb") as file:
        for line in file:
            number, ends = number + 1, line.endswith(b"\n")
    return None if ends else number
