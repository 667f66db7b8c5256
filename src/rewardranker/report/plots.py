"""Plots as inline SVG whose colours are CSS variables, so one drawing serves the light and the dark page.

matplotlib draws with marker colours that are exchanged afterwards; text stays text and takes the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewardranker.report.figures import Evaluation, PPORun

SERIES = 8
"""Number of series colours that the page's style sheet defines, `--s0` to `--s7`; a ninth series starts over."""

TEXT, GRID = "#000101", "#000201"
STYLES = ("-", "--", "-.", ":")

SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": TEXT,
    "axes.edgecolor": GRID,
    "axes.labelcolor": TEXT,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and its caption."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """What a colour and a dash pattern stand for in a group of plots."""

    title: str
    index: int
    dash: str
    """The `stroke-dasharray` of its line."""


DASHES = {"-": "", "--": "6 3", "-.": "8 3 2 3", ":": "2 3"}


def legend(titles: Iterable[str]) -> list[LegendEntry]:
    """One entry for each title, in the order in which the plots number their series."""
    return [LegendEntry(title, i % SERIES, DASHES[_style(i)]) for i, title in enumerate(titles)]


def best_of_n(evaluation: Evaluation) -> tuple[list[LegendEntry], list[Plot]]:
    """Best of n against n, a plot for each population, with bands for the intervals."""
    titles = evaluation.ranker_titles()
    drawn = {
        key: title
        for key, title in titles.items()
        if any((ranker := p.ranker(key)) and len(ranker.curve) > 1 for p in evaluation.populations)
    }
    numbers = {key: i for i, key in enumerate(drawn)}
    points = [p for population in evaluation.populations for r in population.rankers for p in r.curve]
    if not points:
        return [], []
    low, high = 100 * min(p.low for p in points), 100 * max(p.high for p in points)
    plots = []
    for population in evaluation.populations:

        def draw(axes: Any, population: Any = population) -> None:
            for ranker in population.rankers:
                if len(ranker.curve) < 2:
                    continue
                i, n = numbers[ranker.key], [p.n for p in ranker.curve]
                axes.plot(n, [100 * p.mean for p in ranker.curve], **_line(i))
                band = [100 * p.low for p in ranker.curve], [100 * p.high for p in ranker.curve]
                axes.fill_between(n, *band, color=_color(i), alpha=0.12, linewidth=0)
            axes.set_xscale("log", base=2)
            ticks = sorted({2**k for k in range(12) if 2**k <= evaluation.n} | {evaluation.n})
            axes.set_xticks(ticks, [str(n) for n in ticks])
            axes.minorticks_off()
            axes.set_ylim(max(0, low - 3), min(101, high + 3))
            axes.set_xlabel("n, programs to choose from")
            axes.set_ylabel("tasks solved, %")

        plots.append(_plot(population.title, f"best-of-n-{population.key}", draw))
    return legend(drawn.values()), plots


PPO_PLOTS: Sequence[tuple[str, str, float]] = (
    ("validation/pass_rate", "Programs of validation tasks that pass, %", 100),
    ("objective/scores", "Reward of the episodes, before the KL penalty", 1),
    ("objective/kl", "KL to the SFT generator, nats an episode", 1),
    ("policy/entropy_avg", "Entropy of the policy, nats a token", 1),
)
"""Metric in `metrics.jsonl`, title of its plot, factor."""


def ppo(runs: Sequence[PPORun]) -> tuple[list[LegendEntry], list[Plot]]:
    """PPO's course: pass rate on validation tasks, score, and KL over steps; a line for each round."""
    plots = []
    for metric, title, factor in PPO_PLOTS:
        series = [(i, run.series(metric)) for i, run in enumerate(runs)]
        if not any(values for _, values in series):
            continue

        def draw(axes: Any, series: Any = series, factor: float = factor) -> None:
            for i, values in series:
                axes.plot(
                    [step for step, _ in values], [factor * value for _, value in values], **_line(i, len(values))
                )
            axes.set_xlabel("PPO step")

        plots.append(_plot(title, f"ppo-{metric.replace('/', '-')}", draw))
    return legend(run.title for run in runs), plots


def _plot(title: str, key: str, draw: Callable[[Any], None]) -> Plot:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**SETTINGS, "svg.hashsalt": key}):
        figure = Figure(figsize=(4.8, 3.1), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Plot(title, _inline(buffer.getvalue(), key, title))


def _line(i: int, points: int = 0) -> Mapping[str, Any]:
    return {"color": _color(i), "linestyle": _style(i), "marker": "o" if points <= 40 else None}


def _style(i: int) -> str:
    return STYLES[i % len(STYLES)]


def _color(i: int) -> str:
    return f"#0003{i % SERIES:02x}"


def _inline(svg: str, key: str, title: str) -> str:
    """The `<svg>` element alone: no prolog, no metadata, no fixed size, ids of its own, colours as CSS variables."""
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{key}-", svg)
    svg = svg.replace(TEXT, "currentColor").replace(GRID, "var(--grid)")
    svg = re.sub(r"#0003(0[0-7])\b", lambda match: f"var(--s{int(match[1], 16)})", svg)
    return re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
