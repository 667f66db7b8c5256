"""When to stop drawing candidates: as soon as a further one is not worth its price.

Best-of-n as a sequence of boxes that are opened one by one (Weitzman 1979; for language models arXiv 2510.01394): with
recall, the next box is worth opening as long as what it is expected to add exceeds what it costs. What one further
candidate adds to the chance of a right answer is

    gain = P(it takes the first place, is right, and the best so far is wrong)      "it wins"
         - P(it takes the first place, is wrong, and the best so far is right)      "it loses"

and `threshold` is its price in the same unit: 0.01 draws on as long as a candidate adds a point of pass rate. The
second term is why more is not always better: the more candidates, the likelier one that fools the reward model is among
them (arXiv 2210.10760). Both chances are logistic curves of what the candidates drawn so far show (`FEATURES`),
agreement among them being the signal of adaptive consistency (arXiv 2305.11860). `calibration.py` fits them to a run's
own data.

Not guaranteed: anything for another generator, temperature or reward model than those it was fitted on.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError
from rewardranker.runs import write_json

SCHEMA = "rewardranker.adaptive/1"
FILE = "adaptive.json"
"""Its name beside a reward model."""
THRESHOLD = 0.01
FEATURES = ("best score", "gap", "agreement", "novelty", "log drawn")
"""Of the candidates drawn so far; see `features`."""


def features(scores: Sequence[float], programs: Sequence[str]) -> tuple[float, ...]:
    """What the candidates drawn so far say about a further one.

    `best score`; `gap`: by how much it exceeds the best score of another program, 0 if there is none; `agreement`: log
    odds of the share of candidates that are the best program; `novelty`: log odds of the share of candidates that came
    once, by which Good and Turing estimate how likely the next one is new (Good 1953); `log drawn`: of their number.
    Shares have half a candidate added on both sides, so their odds are finite.

    Args:
        scores: finite, of all candidates drawn.
        programs: their texts; equal candidates are repeated.
    """
    drawn, counts = len(programs), Counter(programs)
    best = max(range(drawn), key=scores.__getitem__)
    others = [score for score, program in zip(scores, programs, strict=True) if program != programs[best]]
    gap = scores[best] - max(others) if others else 0.0
    once = sum(1 for count in counts.values() if count == 1)
    return scores[best], gap, _log_odds(counts[programs[best]], drawn), _log_odds(once, drawn), math.log(drawn)


def _log_odds(count: int, drawn: int) -> float:
    return math.log((count + 0.5) / (drawn - count + 0.5))


@dataclass(frozen=True, slots=True)
class Chance:
    """A probability as a logistic curve of `FEATURES`."""

    offset: float
    weights: tuple[float, ...]

    def __call__(self, values: Sequence[float]) -> float:
        total = self.offset + sum(weight * value for weight, value in zip(self.weights, values, strict=True))
        return 0.5 * (1 + math.tanh(0.5 * total))


@dataclass(frozen=True)
class AdaptiveStop:
    """The stopping rule of an adaptive best-of-n."""

    wins: Chance
    """That one further candidate replaces a wrong answer by a right one."""
    loses: Chance
    """That it replaces a right answer by a wrong one."""
    threshold: float = THRESHOLD
    """Price of a candidate: drawing stops when `gain` is below."""
    first_step: int = 2
    """Candidates drawn at once at first."""
    step: int = 2
    """Candidates drawn at once later."""
    fitted: Mapping[str, Any] = field(default_factory=dict)
    """On what it was fitted and what it reached, for people to read."""

    def __post_init__(self) -> None:
        if not (self.first_step >= 1 and self.step >= 1):
            raise DataError(f"first_step is {self.first_step} and step {self.step}: draw at least one candidate")
        if not math.isfinite(self.threshold):
            raise DataError(f"the threshold is {self.threshold}: give a chance, such as {THRESHOLD}")

    def gain(self, scores: Sequence[float], programs: Sequence[str]) -> float:
        """What one further candidate is expected to add to the chance of a right answer, in [-1, 1].

        Args:
            scores: of all candidates drawn so far, at least one; infinite ones count as the highest or lowest finite.
            programs: their texts, in the same order; equal candidates are repeated.
        """
        values = features(_finite(scores), programs)
        return self.wins(values) - self.loses(values)

    def should_stop(self, scores: Sequence[float], programs: Sequence[str], limit: int) -> bool:
        """Whether the best candidate so far is the answer.

        Args:
            limit: stop at so many candidates in any case.
        """
        if not scores or len(scores) >= limit:
            return len(scores) >= limit
        return self.gain(scores, programs) < self.threshold

    def save(self, path: str | Path) -> None:
        """Write the rule as JSON.

        Raises:
            RunDirectoryError: the file can't be written.
        """
        write_json(path, {"schema": SCHEMA, "features": FEATURES, **asdict(self)})

    @classmethod
    def from_file(cls, path: str | Path) -> AdaptiveStop:
        """Read what `save` wrote; a folder (a reward model, say) has it under the name `adaptive.json`.

        Raises:
            DataError: there is no such file, or it holds something else.
        """
        path = Path(path) / FILE if Path(path).is_dir() else Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; `rewardranker calibrate --run RUN` makes it") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"{path}: broken JSON ({error}); make it again with `rewardranker calibrate`") from None
        found = values.get("schema") if isinstance(values, dict) else None
        if found != SCHEMA or tuple(values.get("features", ())) != FEATURES:
            raise DataError(
                f"{path}: expected schema '{SCHEMA}' with the features {', '.join(FEATURES)}, got schema {found!r}; "
                "make it again with `rewardranker calibrate`"
            )
        try:
            return cls(
                wins=_chance(values["wins"]),
                loses=_chance(values["loses"]),
                threshold=float(values["threshold"]),
                first_step=int(values["first_step"]),
                step=int(values["step"]),
                fitted=dict(values["fitted"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: {error!r}; make it again with `rewardranker calibrate`") from None


def _chance(values: Mapping[str, Any]) -> Chance:
    weights = tuple(float(weight) for weight in values["weights"])
    if len(weights) != len(FEATURES):
        raise ValueError(f"{len(weights)} weights for {len(FEATURES)} features")
    if not all(map(math.isfinite, (*weights, float(values["offset"])))):
        raise ValueError("weights are not finite")
    return Chance(float(values["offset"]), weights)


def _finite(scores: Sequence[float]) -> Sequence[float]:
    if all(map(math.isfinite, scores)):
        return scores
    finite = [score for score in scores if math.isfinite(score)] or [0.0]
    return [min(max(score, min(finite)), max(finite)) if score == score else min(finite) for score in scores]
