"""The table of `ablations.json`: what each control gives, over several seeds."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.progress import shown
from rewardranker.report.words import percent
from rewardranker.runs import from_row

NOT_SHARES = ("KL", "score", "seconds", "parameters", "negatives", "positives", "tokens")
"""Beginnings of the names of figures that are not shares; all others are, and are shown in percent."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one arm, with a value for each seed."""

    arm: str
    population: str
    figure: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row in words: what repeats the row above is empty, the figure is summed up over the seeds."""

    arm: str
    population: str
    figure: str
    mean: str
    lowest: str
    highest: str


def ablation_rows(document: Mapping[str, Any]) -> Iterator[ShownRow]:
    """The rows of a parsed `ablations.json`, as a table shows them.

    Raises:
        DataError: a row lacks a column.
    """
    before: tuple[str, str] = ("", "")
    for index, raw in enumerate(document["rows"]):
        row = from_row(raw, Row, f"ablations.json: row {index}")
        same_arm, same_population = row.arm == before[0], (row.arm, row.population) == before
        yield ShownRow("" if same_arm else row.arm, "" if same_population else row.population, row.figure, *_cells(row))
        before = row.arm, row.population


def ablation_table(document: Mapping[str, Any], width: int = 100) -> str:
    """Mean over the seeds, and the lowest and the highest seed, for every arm, population and figure.

    Raises:
        DataError: a row lacks a column.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("arm", "of", "figure"):
        table.add_column(title, overflow="fold")
    for title in ("mean", "lowest", "highest"):
        table.add_column(title, justify="right", no_wrap=True)
    for number, row in enumerate(ablation_rows(document)):
        if row.arm and number:
            table.add_section()
        table.add_row(row.arm, row.population, row.figure, row.mean, row.lowest, row.highest)
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, highlight=False, emoji=False, markup=False)
    console.print(f"{document['seeds']} seeds; shares in %")
    console.print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _cells(row: Row) -> list[str]:
    summary = [statistics.fmean(row.values), min(row.values), max(row.values)]
    if row.figure.startswith(NOT_SHARES):
        return [shown(value) for value in summary]
    return [percent(value) for value in summary]
