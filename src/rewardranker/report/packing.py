"""Programs -> compressed blocks of JSON that the page unpacks in the browser.

The index (all but the sources) is one block, so that the list works before any source is unpacked; sources are blocks
of about half a megabyte, unpacked when one of their programs is opened. Equal texts are kept once. The columns of the
index are documented where the page reads them, in `web/data.js`.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.report.programs import Program, Programs

BLOCK = 512 * 1024
"""Characters of source in a block."""
LEVEL = 9
GRAMMARS = {
    "py": "python", "python3": "python", "sh": "bash", "c++": "cpp", "cs": "csharp", "c#": "csharp", "golang": "go",
    "js": "javascript", "ts": "typescript", "jl": "julia", "pl": "perl", "rb": "ruby", "rkt": "scheme",
    "racket": "scheme", "rs": "rust", "hs": "haskell", "ml": "ocaml", "kt": "kotlin", "ex": "elixir", "clj": "clojure",
}  # fmt: skip
"""Other names of languages, as data sets give them, and the highlighter's grammar of each."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What the page embeds: base64 of gzip of JSON."""

    index: str
    sources: tuple[str, ...]


def grammar(language: str) -> str:
    """The name of the highlighter's grammar; of a language without one its own name."""
    return GRAMMARS.get(language.lower(), language.lower())


class _Table:
    """Distinct values, numbered by first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}

    def __call__(self, value: Hashable) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


def pack(programs: Programs, populations: Mapping[str, str], rankers: Mapping[str, str], main: str) -> Packed:
    """Pack the programs of a page.

    Args:
        populations, rankers: title of each key, in the order in which they are shown.
        main: key of the ranker that sorts at first; empty: the first one.
    """
    texts, statuses, details = _Table(), _Table(), _Table()
    statuses("passed")
    order = {name: place for place, name in enumerate(rankers)}
    task_number = {task.task_id: number for number, task in enumerate(programs.tasks)}
    shown_populations = list(dict.fromkeys(program.population for program in programs.programs))
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("task", "population", "sample", "status", "passed", "text", "detail", "failing", "held", "tests")
    }
    references: list[int] = []
    rows = iter(programs.programs)
    pending = next(rows, None)
    for task in programs.tasks:
        references.append(texts(task.reference) if task.reference else -1)
        while pending is not None and pending.task_id == task.task_id:
            values = _row(pending, task_number, shown_populations, texts, statuses, details)
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
            pending = next(rows, None)
    names = sorted(programs.rankers, key=lambda name: order.get(name, len(order)))
    index = {
        "tasks": [
            {
                "id": task.task_id,
                "prompt": task.prompt,
                "language": task.language,
                "grammar": grammar(task.language),
                "difficulty": task.difficulty,
                "source": task.source,
                "reference": reference,
            }
            for task, reference in zip(programs.tasks, references, strict=True)
        ],
        "populations": [{"key": key, "title": populations.get(key, key)} for key in shown_populations],
        "rankers": [{"key": key, "title": rankers.get(key, key)} for key in names],
        "main": names.index(main) if main in names else 0,
        "statuses": list(statuses.numbers),
        "details": list(details.numbers),
        "programs": columns,
        "scores": [[_number(program.scores.get(name)) for program in programs.programs] for name in names],
    }
    blocks = list(_blocks(str(text) for text in texts.numbers))
    index["blocks"] = [len(block) for block in blocks]
    return Packed(_packed(index), tuple(_packed(block) for block in blocks))


def _row(
    program: Program,
    tasks: Mapping[str, int],
    populations: list[str],
    texts: _Table,
    statuses: _Table,
    details: _Table,
) -> tuple[int, ...]:
    return (
        tasks[program.task_id],
        populations.index(program.population),
        program.sample_id,
        statuses(program.status),
        int(program.passed),
        texts(program.program),
        details(program.detail),
        details(program.failing),
        program.tests_passed,
        program.tests_total,
    )


def _number(score: float | None) -> float | None:
    """Seven digits, as many as float32 has. An infinity becomes 1e308, which sorts like it and fits JSON."""
    if score is None:
        return None
    if math.isinf(score):
        return math.copysign(1e308, score)
    rounded = float(f"{score:.7g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _blocks(texts: Iterable[str]) -> Iterable[list[str]]:
    block: list[str] = []
    size = 0
    for text in texts:
        if block and size + len(text) > BLOCK:
            yield block
            block, size = [], 0
        block.append(text)
        size += len(text)
    if block:
        yield block


def _packed(value: object) -> str:
    # A lone surrogate, which a model's broken text may hold, has no UTF-8; JSON's escapes have it.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8", "backslashreplace")
    return base64.b64encode(gzip.compress(data, LEVEL, mtime=0)).decode("ascii")
