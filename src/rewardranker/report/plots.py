"""The plots of a page. A ranker has the same colour, dashes and marker in all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from rewardranker.report.drawing import LegendEntry, Pen, Plot, PlotGroup
from rewardranker.report.figures import Calibration, CurvePoint, Evaluation, Interval, Population, PPORun, Ranker

COSTS = (
    ("tokens", "Tokens sampled for a task"),
    ("seconds", "Seconds spent scoring, a task"),
    ("programs", "Programs executed to choose, a task"),
)
"""Cost of a point, and its name."""


def all_plots(evaluation: Evaluation, trainings: Sequence[PPORun], kl: Sequence[float | None]) -> dict[str, PlotGroup]:
    """Every group that has something to show, by its key.

    Args:
        kl: of each population to the SFT generator; None: not measured.
    """
    groups = (
        best_of_n(evaluation),
        cost(evaluation),
        rounds(evaluation, kl),
        calibration(evaluation),
        ppo(trainings),
    )
    return {group.key: group for group in groups if group.plots}


def numbers(evaluation: Evaluation) -> dict[str, int]:
    """The series number of each ranker."""
    return {key: number for number, key in enumerate(evaluation.ranker_titles())}


def legend(evaluation: Evaluation, keys: Iterable[str]) -> tuple[LegendEntry, ...]:
    shown = set(keys)
    number = numbers(evaluation)
    return tuple(LegendEntry(title, number[key]) for key, title in evaluation.ranker_titles().items() if key in shown)


def best_of_n(evaluation: Evaluation) -> PlotGroup:
    """Best of n against n, a plot for each population, with bands for the intervals."""
    number = numbers(evaluation)
    points = [p for population in evaluation.populations for r in population.rankers for p in r.curve]
    drawn = [r.key for population in evaluation.populations for r in population.rankers if len(r.curve) > 1]
    most = max((point.n for point in points), default=1)
    plots = []
    size = (4.8, 3.1) if len(evaluation.populations) > 1 else (5.6, 3.5)
    for population in evaluation.populations if drawn else ():

        def draw(axes: Any, pen: Pen, population: Population = population) -> None:
            for ranker in population.rankers:
                if len(ranker.curve) > 1:
                    _curve(axes, pen, number[ranker.key], [float(p.n) for p in ranker.curve], ranker.curve)
                elif ranker.key == "greedy":  # one program, whatever n is: a mark to beat
                    axes.plot([1, most], [100 * ranker.mean] * 2, **{**pen.line(number["greedy"]), "marker": None})
            _powers(axes, most)
            _shares(axes, points)
            axes.set_xlabel("n, programs to choose from")

        plots.append(Plot(f"best-of-n-{_slug(population.key)}", population.title, draw, size))
    return PlotGroup("best-of-n", legend(evaluation, [*drawn, "greedy"]), tuple(plots))


def cost(evaluation: Evaluation) -> PlotGroup:
    """Tasks solved against what it costs: every ranker of an evaluation, every generator of a run."""
    if len(evaluation.populations) > 1:
        return _cost_of_generators(evaluation)
    number, rankers = numbers(evaluation), evaluation.populations[0].rankers
    plots, drawn = [], []
    for name, title in COSTS:
        shown = [r for r in rankers if r.curve and all(getattr(p, name) is not None for p in r.curve)]
        values = [getattr(p, name) for r in shown for p in r.curve]
        if len({value for value in values if value > 0}) < 2:
            continue
        drawn += [ranker.key for ranker in shown]

        def draw(
            axes: Any,
            pen: Pen,
            name: str = name,
            label: str = title[0].lower() + title[1:],
            shown: Sequence[Ranker] = tuple(shown),
            values: Sequence[float] = tuple(values),
        ) -> None:
            for ranker in shown:
                _curve(axes, pen, number[ranker.key], [getattr(p, name) for p in ranker.curve], ranker.curve)
            _costs(axes, values)
            _shares(axes, [p for ranker in shown for p in ranker.curve])
            axes.set_xlabel(label)

        plots.append(Plot(f"cost-{name}", title, draw))
    return PlotGroup("cost", legend(evaluation, drawn), tuple(plots))


def _cost_of_generators(evaluation: Evaluation) -> PlotGroup:
    key = evaluation.system[1].key if evaluation.system else evaluation.main_ranker
    found = [(p.title, ranker.curve) for p in evaluation.populations if (ranker := p.ranker(key))]
    shown = [(title, curve) for title, curve in found if len(curve) > 1 and all(p.tokens for p in curve)]
    if not shown:
        return PlotGroup("cost", (), ())

    def draw(axes: Any, pen: Pen) -> None:
        for i, (_, curve) in enumerate(shown):
            _curve(axes, pen, i, [float(p.tokens or 0) for p in curve], curve)
        _costs(axes, [float(p.tokens or 0) for _, curve in shown for p in curve])
        _shares(axes, [p for _, curve in shown for p in curve])
        axes.set_xlabel("tokens sampled for a task")

    title = f"Best of n by {evaluation.ranker_titles()[key]}"
    entries = tuple(LegendEntry(name, i) for i, (name, _) in enumerate(shown))
    return PlotGroup("cost", entries, (Plot("cost-tokens", title, draw, (5.6, 3.5)),))


def rounds(evaluation: Evaluation, kl: Sequence[float | None]) -> PlotGroup:
    """The generators of a run in order: tasks solved, hard pairs, KL, diversity."""
    populations = evaluation.populations
    if len(populations) < 2:
        return PlotGroup("rounds", (), ())
    number, ticks = numbers(evaluation), [_round_name(p) for p in populations]
    system = evaluation.system[1].key if evaluation.system else evaluation.main_ranker
    solved = {
        key: [population.ranker(key) for population in populations]
        for key in ("mean", "greedy", system, "oracle")
        if any(population.ranker(key) for population in populations)
    }
    keys = dict.fromkeys(row.ranker for population in populations for row in population.pairwise if row.hard)
    hard = {
        key: [next((row.hard for row in p.pairwise if row.ranker == key), None) for p in populations] for key in keys
    }
    plots = []

    def panel(key: str, title: str, series: dict[str, list[Any]], factor: float = 100.0) -> None:
        if not any(value is not None for values in series.values() for value in values):
            return

        def draw(axes: Any, pen: Pen) -> None:
            for name, values in series.items():
                _steps(axes, pen, number.get(name, 0), values, factor)
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set_xlim(-0.3, len(ticks) - 0.7)

        plots.append(Plot(f"rounds-{key}", title, draw))

    panel("solved", "Tasks solved, %", dict(solved))
    panel("hard-pairs", "Hard pairs in order, %", dict(hard))
    divergence = [None if value is None else Interval(value, value, value) for value in kl]
    panel("kl", "KL to the SFT generator, nats an episode", {"": list(divergence)}, 1)
    panel("distinct", "Distinct programs among the n, %", {"": [p.distinct for p in populations]})
    return PlotGroup("rounds", legend(evaluation, [*solved, *hard]), tuple(plots))


def calibration(evaluation: Evaluation) -> PlotGroup:
    """Reliability curves: what share passes of programs predicted to pass with some probability. A plot for each
    generator of a run, with all rankers; a plot for each ranker of an evaluation, which may have many."""
    if len(evaluation.populations) > 1:
        shown = [p for p in evaluation.populations if p.calibration]
        plots = [_reliability(evaluation, p.key, p.title, p.calibration) for p in shown]
        keys = [found.ranker for population in shown for found in population.calibration]
        return PlotGroup("calibration", legend(evaluation, keys), tuple(plots))
    (population,) = evaluation.populations
    titles = evaluation.ranker_titles()
    plots = [
        _reliability(
            evaluation,
            f"{population.key}-{found.ranker}",
            f"{titles.get(found.ranker, found.ranker)}: calibration error {100 * found.ece:.1f} points",
            [found],
        )
        for found in population.calibration
    ]
    return PlotGroup("calibration", (), tuple(plots))


def _reliability(evaluation: Evaluation, key: str, title: str, curves: Sequence[Calibration]) -> Plot:
    number = numbers(evaluation)

    def draw(axes: Any, pen: Pen) -> None:
        axes.plot([0, 100], [0, 100], color=pen.grid, linewidth=1, linestyle="--")
        for found in curves:
            x = [100 * one.predicted for one in found.bins]
            y = [100 * one.observed for one in found.bins]
            errors = [[max(0.0, 100 * (b.observed - b.low)) for b in found.bins]]
            errors += [[max(0.0, 100 * (b.high - b.observed)) for b in found.bins]]
            i = number.get(found.ranker, 0)
            axes.errorbar(x, y, yerr=errors, fmt="none", ecolor=pen.color(i), elinewidth=1, alpha=0.6)
            axes.plot(x, y, **(pen.line(i) if len(curves) > 1 else {**pen.line(i), "linestyle": "-"}))
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("predicted to pass, %")
        axes.set_ylabel("passed, %")

    return Plot(f"calibration-{_slug(key)}", title, draw, (4.8, 3.1) if len(curves) > 1 else (3.6, 2.9))


PPO_PLOTS: Sequence[tuple[str, str, float]] = (
    ("validation/pass_rate", "Programs of validation tasks that pass, %", 100),
    ("objective/scores", "Reward of the episodes, before the KL penalty", 1),
    ("objective/kl", "KL to the SFT generator, nats an episode", 1),
    ("policy/entropy_avg", "Entropy of the policy, nats a token", 1),
)
"""Metric in `metrics.jsonl`, title of its plot, factor."""


def ppo(runs: Sequence[PPORun]) -> PlotGroup:
    """PPO's course: pass rate on validation tasks, score, and KL over steps; a line for each round."""
    plots = []
    for metric, title, factor in PPO_PLOTS:
        series = [(i, run.series(metric)) for i, run in enumerate(runs)]
        if not any(values for _, values in series):
            continue

        def draw(axes: Any, pen: Pen, series: Any = series, factor: float = factor) -> None:
            for i, values in series:
                line = pen.line(i, len(values))
                axes.plot([step for step, _ in values], [factor * value for _, value in values], **line)
            axes.set_xlabel("PPO step")

        plots.append(Plot(f"ppo-{metric.replace('/', '-')}", title, draw))
    return PlotGroup("ppo", tuple(LegendEntry(run.title, i) for i, run in enumerate(runs)), tuple(plots))


def _curve(axes: Any, pen: Pen, i: int, x: list[float], points: Sequence[CurvePoint]) -> None:
    axes.plot(x, [100 * p.mean for p in points], **pen.line(i, len(points)))
    if len(points) > 1:
        pen.band(axes, i, x, [100 * p.low for p in points], [100 * p.high for p in points])


def _steps(axes: Any, pen: Pen, i: int, values: Sequence[Interval | Ranker | None], factor: float) -> None:
    """Values of the rounds, joined where neighbours have one; a round without one is left open."""
    shown = [(x, value) for x, value in enumerate(values) if value is not None]
    places = [float(x) for x, _ in shown]
    axes.plot(places, [factor * v.mean for _, v in shown], **pen.line(i, len(shown)))
    pen.band(axes, i, places, [factor * v.low for _, v in shown], [factor * v.high for _, v in shown])


def _powers(axes: Any, most: int) -> None:
    axes.set_xscale("log", base=2)
    ticks = sorted({2**k for k in range(12) if 2**k <= most * 0.8} | {most})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()


def _costs(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers; what costs nothing stands at its left edge, set off from the rest."""
    from matplotlib.ticker import LogLocator, NullLocator

    least, most = min(value for value in values if value > 0), max(values)
    free = min(values) <= 0
    if free:
        axes.set_xscale("symlog", linthresh=least, linscale=0.4)
    else:
        axes.set_xscale("log")
    steps = (1.0,) if most / least > 100 else (1.0, 3.0) if most / least > 20 else (1.0, 2.0, 5.0)
    ticks = [float(tick) for tick in LogLocator(subs=steps).tick_values(least, most) if least <= tick <= 1.001 * most]
    ticks = [0.0] * free + ticks
    axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _shares(axes: Any, points: Sequence[CurvePoint]) -> None:
    """The same axis of shares for all plots of a group."""
    low, high = 100 * min(p.low for p in points), 100 * max(p.high for p in points)
    axes.set_ylim(max(0, low - 3), min(101, high + 3))
    axes.set_ylabel("tasks solved, %")


def _round_name(population: Population) -> str:
    match = re.fullmatch(r"policy-(\d+)", population.key)
    return f"round {match[1]}" if match else population.key.upper() if len(population.key) <= 4 else population.title


def _slug(key: str) -> str:
    """A key as part of an id and of a file's name. Distinct keys stay distinct: what is replaced is numbered."""
    return re.sub(r"[^A-Za-z0-9-]", lambda match: f"_{ord(match[0]):x}", key)
