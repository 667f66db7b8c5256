"""One drawing, two uses: inline SVG whose colours are the page's CSS variables, and SVG and PNG files for papers.

matplotlib draws the inline SVG with marker colours that are exchanged afterwards, so one drawing serves the light and
the dark page; text stays text and takes the page's font. Files have a legend, colours that keep apart in print, and a
white ground.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

SERIES = 8
"""Number of series colours that the page's style sheet defines, `--s0` to `--s7`; a ninth series starts over."""
COLORS = ("#5b6470", "#b35900", "#7b3fb5", "#0b5cad", "#0f7f6c", "#c2255c", "#8a6d00", "#3d7a1f")
"""The same series in files: those of the light page."""
STYLES = ("-", "--", "-.", ":")
DASHES = {"-": "", "--": "6 3", "-.": "8 3 2 3", ":": "2 3"}
MARKERS = "os^Dv"
TEXT, GRID = "#000101", "#000201"
DPI = 300

SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
}


@dataclass(frozen=True, slots=True)
class Pen:
    """How a series is drawn."""

    files: bool
    """For files; else for the page."""

    def color(self, i: int) -> str:
        return COLORS[i % SERIES] if self.files else f"#0003{i % SERIES:02x}"

    @property
    def text(self) -> str:
        return "#1b1f24" if self.files else TEXT

    @property
    def grid(self) -> str:
        return "#cfd4da" if self.files else GRID

    def line(self, i: int, points: int = 0) -> Mapping[str, Any]:
        """Arguments of `plot`. Colour, dashes and marker differ together, so none of them is needed alone."""
        marker = MARKERS[i % len(MARKERS)] if points <= 40 else None
        return {"color": self.color(i), "linestyle": style(i), "marker": marker, "gid": f"series-{i}"}

    def band(self, axes: Any, i: int, x: list[float], low: list[float], high: list[float]) -> None:
        axes.fill_between(x, low, high, color=self.color(i), alpha=0.1, linewidth=0, gid=f"band-series-{i}")


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """What a colour and a dash pattern stand for in a group of plots."""

    title: str
    number: int

    @property
    def index(self) -> int:
        return self.number % SERIES

    @property
    def dash(self) -> str:
        """The `stroke-dasharray` of its line."""
        return DASHES[style(self.number)]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing and its caption."""

    key: str
    title: str
    draw: Callable[[Any, Pen], None]
    """Draws on matplotlib axes."""
    size: tuple[float, float] = (4.8, 3.1)
    """Inches."""

    @property
    def svg(self) -> str:
        """The `<svg>` element for the page."""
        from matplotlib import rc_context

        with rc_context({**SETTINGS, **_inks(Pen(False)), "svg.hashsalt": self.key}):
            buffer = io.StringIO()
            self._figure(Pen(False)).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        return _inline(buffer.getvalue(), self.key, self.title)

    def save(self, folder: Path, legend: Iterable[LegendEntry]) -> list[Path]:
        """Write `KEY.svg` and `KEY.png`, with a legend of the series that it has."""
        from matplotlib import rc_context

        pen, paths = Pen(True), [folder / f"{self.key}.{kind}" for kind in ("svg", "png")]
        with rc_context({**SETTINGS, **_inks(pen), "svg.hashsalt": self.key}):
            figure = self._figure(pen)
            axes = figure.axes[0]
            axes.set_title(self.title)
            titles = {f"series-{entry.number}": entry.title for entry in legend}
            shown = [(line, titles[line.get_gid()]) for line in axes.lines if line.get_gid() in titles]
            if shown:
                lines, names = zip(*shown, strict=True)
                figure.legend(lines, names, loc="outside lower left", ncols=2, frameon=False, fontsize=8)
                width, height = self.size
                figure.set_size_inches(width, height + 0.18 * ((len(names) + 1) // 2))
            folder.mkdir(parents=True, exist_ok=True)
            for path in paths:
                fixed = {"Date": None} if path.suffix == ".svg" else {"Software": None}
                figure.savefig(path, dpi=DPI, metadata=fixed)
        return paths

    def _figure(self, pen: Pen) -> Any:
        from matplotlib.figure import Figure

        figure = Figure(figsize=self.size, layout="constrained")
        self.draw(figure.add_subplot(), pen)
        return figure


@dataclass(frozen=True, slots=True)
class PlotGroup:
    """Plots that share a legend."""

    key: str
    legend: tuple[LegendEntry, ...]
    plots: tuple[Plot, ...]


def style(i: int) -> str:
    """Dashes change with each series, and shift each time that the colours start over."""
    return STYLES[(i + i // SERIES) % len(STYLES)]


def _inks(pen: Pen) -> dict[str, str]:
    inks = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), pen.text)
    return inks | {"axes.edgecolor": pen.grid, "grid.color": pen.grid}


def _inline(svg: str, key: str, title: str) -> str:
    """The `<svg>` element alone: no prolog, no metadata, no fixed size, ids of its own, colours as CSS variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for _ in range(2):
        svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{key}-", svg)
    svg = svg.replace(TEXT, "currentColor").replace(GRID, "var(--grid)")
    svg = re.sub(r"#0003(0[0-7])\b", lambda match: f"var(--s{int(match[1], 16)})", svg)
    return re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
