"""Live progress: stage, step, time left, the figures so far.

On a terminal one line is redrawn; elsewhere (a log file, CI) a plain line is printed every `interval` seconds. All of
it goes to standard error, so that standard output stays clean for results.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TextIO

Figure = float | int | str


class Progress:
    """A `ProgressReporter` that prints. Use one for a whole command; `start` begins each step."""

    def __init__(self, stream: TextIO | None = None, interval: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._interval = 0.2 if self._live else interval
        self._begun = time.monotonic()
        self._last = 0.0
        self._stage = ""

    def begin(self, stage: str) -> None:
        """Say that a stage of a longer command begins; its name stands before those of its steps."""
        self._stage = stage
        line = f"[{clock(time.monotonic() - self._begun)}] {stage} ..."
        self._stream.write(f"\r\x1b[2K{line}" if self._live else line + "\n")
        self._stream.flush()

    def start(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None:
        """Begin a step of `total` units, `done` of which an earlier session did."""
        self._name, self._total, self._unit = name, total, unit
        self._first, self._done = done, done
        self._start = time.monotonic()
        self._last = 0.0
        self._figures: dict[str, Figure] = {}
        self._show()

    def update(self, done: int, **figures: Figure) -> None:
        """`done` units are finished; `figures` are shown until replaced."""
        self._done = done
        self._figures.update(figures)
        if time.monotonic() - self._last >= self._interval:
            self._show()

    def finish(self, **figures: Figure) -> None:
        """The step is complete."""
        self._done = self._total
        self._figures.update(figures)
        self._show(end=True)

    def _show(self, end: bool = False) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._start
        name = f"{self._stage}: {self._name}" if self._stage else self._name
        parts = [f"[{clock(self._last - self._begun)}] {name}: {self._done:,}/{self._total:,} {self._unit}"]
        if end:
            parts.append(f"took {clock(elapsed)}")
        elif self._done > self._first:
            parts.append(f"{clock(elapsed / (self._done - self._first) * (self._total - self._done))} left")
        parts += [f"{name} {shown(value)}" for name, value in self._figures.items()]
        line = ", ".join(parts)
        if self._live:
            self._stream.write(f"\r\x1b[2K{line}" + ("\n" if end else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


class Silent:
    """A `ProgressReporter` that prints nothing."""

    def start(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None: ...

    def update(self, done: int, **figures: Figure) -> None: ...

    def finish(self, **figures: Figure) -> None: ...


def clock(seconds: float) -> str:
    """`75` -> `1:15`, `3700` -> `1:01:40`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def shown(value: Figure) -> str:
    """Three digits for small numbers, none behind the point for large ones."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.3g}"
    return f"{round(value) if math.isfinite(value) else value:,}"
