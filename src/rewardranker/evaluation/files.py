"""Reads the records that an evaluation joins, and says of a cut-off last line what it is."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rewardranker.errors import DataError
from rewardranker.runs import read_records, write_records
from rewardranker.types import Ranking, Sample

T = TypeVar("T")
LARGEST = sys.float_info.max


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
    """The rankings of a file, by ranker; the largest float64, up or down, is read as an infinity (`write_rankings`).

    Raises:
        DataError: as `read_all`, or a score is NaN.
    """
    by_ranker: dict[str, list[Ranking]] = {}
    for ranking in read_all(path, Ranking):
        if any(map(math.isnan, ranking.scores)):
            raise DataError(f"{path}: a score of '{ranking.ranker}' for task '{ranking.task_id}' is NaN: rank it again")
        if any(abs(score) >= LARGEST for score in ranking.scores):
            scores = (math.copysign(math.inf, s) if abs(s) >= LARGEST else s for s in ranking.scores)
            ranking = replace(ranking, scores=tuple(scores))
        by_ranker.setdefault(ranking.ranker, []).append(ranking)
    return by_ranker


def write_rankings(path: str | Path, rankings: Iterable[Ranking]) -> int:
    """Write rankings, infinite scores as the largest float64, since JSON has no infinities. Returns how many."""
    return write_records(path, map(_finite, rankings))


def of_samples(rankings: Iterable[Ranking], samples: Iterable[Sample]) -> Iterator[Ranking]:
    """The scores that are of these samples; rankings without any are left out."""
    known = {(sample.task_id, sample.sample_id) for sample in samples}
    for ranking in rankings:
        kept = [
            (number, score)
            for number, score in zip(ranking.sample_ids, ranking.scores, strict=True)
            if (ranking.task_id, number) in known
        ]
        if len(kept) == len(ranking.scores):
            yield ranking
        elif kept:
            ids, scores = zip(*kept, strict=True)
            yield replace(ranking, sample_ids=ids, scores=scores)


def _finite(ranking: Ranking) -> Ranking:
    if all(map(math.isfinite, ranking.scores)):
        return ranking
    return replace(ranking, scores=tuple(min(max(score, -LARGEST), LARGEST) for score in ranking.scores))


def _cut_off_line(path: Path) -> int | None:
    """The number of a last line that does not end; None where the file is whole or can't be read."""
    if not path.is_file():
        return None
    number, ends = 0, True
    with path.open("rb") as file:
        for line in file:
            number, ends = number + 1, line.endswith(b"\n")
    return None if ends else number
