"""The main table, for a terminal or a log: rankers down, generators across."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rewardranker.report.figures import Difference, Evaluation, Population, parse_figures
from rewardranker.report.words import difference_in_words, percent, settings_in_words

WIDTH = 100
POPULATIONS_IN_A_ROW = 4


def terminal_table(figures: Evaluation | Mapping[str, Any], width: int = WIDTH) -> str:
    """The main table and the paired differences as plain text of at most `width` columns.

    Raises:
        DataError: `figures` is a document that lacks a column.
    """
    from rich.console import Console
    from rich.padding import Padding

    evaluation = figures if isinstance(figures, Evaluation) else parse_figures(figures)
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, highlight=False, emoji=False, markup=False)
    console.print(f"{evaluation.name}: {settings_in_words(evaluation)}")
    for start in range(0, len(evaluation.populations), POPULATIONS_IN_A_ROW):
        console.print(_table(evaluation, evaluation.populations[start : start + POPULATIONS_IN_A_ROW]))
    if evaluation.differences:
        console.print("Differences in points, paired by task:")
        for difference in _largest_first(evaluation.differences):
            console.print(Padding(difference_in_words(difference), (0, 0, 0, 2)))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _table(evaluation: Evaluation, populations: Sequence[Population]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("solved, % of tasks", overflow="fold")
    for population in populations:
        table.add_column(population.title, justify="right")
    for key, title in evaluation.ranker_titles().items():
        if any(population.ranker(key) for population in populations):
            table.add_row(title, *(_cell(population, key) for population in populations))
    if any(population.distinct for population in populations):
        table.add_section()
        table.add_row("distinct programs, %", *(percent(p.distinct.mean) if p.distinct else "" for p in populations))
    rankers = list(dict.fromkeys(row.ranker for population in populations for row in population.pairwise))
    for kind, title in (("all", "pairs in order, %"), ("hard", "hard pairs, %")):
        shown = [key for key in rankers if any(_pairs(population, key, kind) for population in populations)]
        if shown:
            table.add_section()
        for key in shown:
            name = evaluation.ranker_titles().get(key, key)
            table.add_row(f"{title}: {name}", *(_pairs(population, key, kind) for population in populations))
    return table


def _pairs(population: Population, key: str, kind: str) -> str:
    found = next((getattr(row, kind) for row in population.pairwise if row.ranker == key), None)
    return f"{percent(found.mean)} ± {percent((found.high - found.low) / 2):>4}" if found else ""


def _cell(population: Population, key: str) -> str:
    ranker = population.ranker(key)
    if ranker is None:
        return ""
    return f"{percent(ranker.mean)} ± {percent((ranker.high - ranker.low) / 2):>4}"


def _largest_first(differences: Sequence[Difference]) -> list[Difference]:
    """Significant ones first, in the order of the document."""
    return sorted(differences, key=lambda difference: not difference.significant)
