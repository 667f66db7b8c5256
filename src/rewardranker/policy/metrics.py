"""What PPO measures of its own steps; `ppo` says what each metric means."""

from __future__ import annotations

import json
import time
from pathlib import Path

from torch import Tensor

Metrics = dict[str, float]


class Clock:
    """Seconds of the parts of a step."""

    def __init__(self) -> None:
        self.seconds: Metrics = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        """What was done since the last lap is this part."""
        now = time.perf_counter()
        self.seconds[f"seconds/{part}"] = now - self._last
        self._last = now


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - var(returns - values) / var(returns); 0 when all returns are equal (nothing to explain)."""
    variance = returns.var(correction=0).item()
    return 1 - (returns - values).var(correction=0).item() / variance if variance > 0 else 0.0


def read_metrics(folder: Path) -> list[Metrics]:
    """The lines of `metrics.jsonl`."""
    with (folder / "metrics.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
