"""An evaluation as Markdown: first the table by language (average last), then curves, differences, order, cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rewardranker.evaluation.intervals import Interval
from rewardranker.evaluation.records import GREEDY, MEAN, Breakdown, Comparison, Evaluation, GroupRow, Row


def to_markdown(evaluation: Evaluation) -> str:
    """Tables of the figures in percent, with their intervals."""
    parts = [_heading(evaluation)]
    parts += [_by_group(found, evaluation.n) for found in evaluation.breakdowns]
    parts.append(_curves(evaluation))
    if evaluation.differences:
        parts.append(_differences("difference", evaluation.differences, evaluation.n))
    for other in evaluation.against:
        title = f"this minus {other.model or 'the other'} ({other.path})"
        parts.append(_differences(title, other.differences, evaluation.n))
    if evaluation.quality:
        parts += [_order(evaluation), _costs(evaluation)]
    if evaluation.notes or evaluation.dropped:
        left_out = f"{len(evaluation.dropped)} tasks left out for too few samples: {', '.join(evaluation.dropped[:5])}"
        notes = [left_out + (", ..." if len(evaluation.dropped) > 5 else "")] if evaluation.dropped else []
        parts.append("\n".join(f"- {note}" for note in [*notes, *evaluation.notes]))
    return "\n\n".join(parts) + "\n"


def _heading(evaluation: Evaluation) -> str:
    fewest, most = evaluation.fewest_samples, evaluation.most_samples
    many = f"{fewest} samples each" if fewest == most else f"{fewest} to {most} samples each"
    model = f", model {evaluation.model}" if evaluation.model else ""
    distinct = "" if evaluation.distinct is None else f"; {evaluation.distinct:.1f} of {evaluation.n} programs distinct"
    return (
        f"{evaluation.tasks} tasks, {many}{model}{distinct}. % of tasks solved, {100 * evaluation.confidence:g} % "
        "intervals over tasks."
    )


def _by_group(breakdown: Breakdown, n: int) -> str:
    groups = breakdown.groups
    columns = [(f"{group.value} ({group.tasks})", group.rows) for group in groups]
    if len(groups) > 1:
        columns.append(("average", breakdown.average))
    tables = [_shown(rows, n) for _, rows in columns]
    lines = [[ranker, *(_percent(table[ranker]) for table in tables)] for ranker in tables[0]]
    return _table([f"best of {n} by", *(title for title, _ in columns)], lines)


def _shown(rows: Iterable[GroupRow], n: int) -> dict[str, GroupRow]:
    """Each ranker's figure at n; the mean's and greedy's, which are of one sample."""
    return {row.ranker: row for row in rows if row.n == n or row.ranker in (MEAN, GREEDY)}


def _curves(evaluation: Evaluation) -> str:
    cells = {(row.ranker, row.n): row for row in evaluation.rows}
    lines = []
    for ranker in dict.fromkeys(row.ranker for row in evaluation.rows):
        found = [cells.get((ranker, n)) for n in evaluation.ns]
        lines.append([ranker, *("" if row is None else _percent(row) for row in found)])
    return _table(["best of n by", *(f"n = {n}" for n in evaluation.ns)], lines)


def _differences(title: str, differences: Sequence[Comparison], n: int) -> str:
    lines = [
        [
            d.ranker if d.ranker == d.baseline else f"{d.ranker} - {d.baseline}",
            _percent(d, sign=True),
            f"{d.p_value:.2g}",
            f"{d.p_adjusted:.2g}",
        ]
        for d in differences
    ]
    return _table([f"{title}, n = {n}", "points", "p", f"p (Holm, {len(differences)} comparisons)"], lines)


def _order(evaluation: Evaluation) -> str:
    calibration = {found.ranker: found for found in evaluation.calibration}
    lines = []
    for q in evaluation.quality:
        c = calibration.get(q.ranker)
        errors = ["-", "-"] if c is None else [f"{c.ece:.3f}", f"{c.brier:.3f} ({c.brier_of_rate:.3f})"]
        lines.append([q.ranker, _share(q.pairwise_accuracy), _share(q.auc), _share(q.mrr), *errors])
    return _table(
        ["ranker", "pairwise accuracy", "AUC over tasks", "MRR", "ECE", "Brier (of the pass rate alone)"], lines
    )


def _costs(evaluation: Evaluation) -> str:
    rows = [row for row in evaluation.rows if row.n == (1 if row.ranker in (MEAN, GREEDY) else evaluation.n)]
    lines = []
    for row in rows:
        tokens = "-" if row.tokens is None else f"{row.tokens:.0f}"
        others = (row.seconds, row.programs, row.execution_seconds)
        lines.append([row.ranker, tokens, *("-" if cost is None else f"{cost:.3g}" for cost in others)])
    heads = ("tokens sampled", "seconds scoring", "programs executed", "seconds executing")
    return _table([f"cost a task, n = {evaluation.n}", *heads], lines)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [[cell.replace("|", "\\|") for cell in line] for line in [heads, *lines]]
    return "\n".join(
        ["| " + " | ".join(rows[0]) + " |", "|---" * len(heads) + "|", *("| " + " | ".join(r) + " |" for r in rows[1:])]
    )


def _percent(figure: Row | GroupRow | Comparison, sign: bool = False) -> str:
    form = "+.1f" if sign else ".1f"
    mean, low, high = (f"{round(100 * v, 1) + 0.0:{form}}" for v in (figure.mean, figure.low, figure.high))  # no -0.0
    return f"{mean} [{low}, {high}]"


def _share(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
