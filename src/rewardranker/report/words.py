"""Figures in plain words, for the terminal and the page alike."""

from __future__ import annotations

from rewardranker.report.figures import Difference, Evaluation, Population

UNRANKED = ("mean", "greedy", "oracle")
"""Not a choice among the samples: their mean, another decoding, and what no ranker can pass."""


def percent(share: float, digits: int = 1) -> str:
    """`0.634` -> `63.4`."""
    return f"{100 * share:.{digits}f}"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def points(share: float) -> str:
    """A difference in percentage points, signed: `0.0124` -> `+1.2`."""
    return f"{100 * share:+.1f}"


def duration(seconds: float) -> str:
    """`75` -> `1 min 15 s`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute} min"
    return f"{minute} min {second} s" if minute else f"{seconds:.1f} s"


def settings_in_words(evaluation: Evaluation) -> str:
    """What was measured and how."""
    return (
        f"{evaluation.tasks:,} tasks, {evaluation.n} programs drawn for each, "
        f"{percent(evaluation.confidence, 0)} % intervals over tasks"
    )


def difference_in_words(difference: Difference) -> str:
    """`reranker - mean: +12.1 (9.0 to 15.3), p < 0.001`, and whether it can be told from chance."""
    verdict = "" if difference.significant else ": can't be told from chance"
    return (
        f"{difference.title}: {points(difference.mean)} ({points(difference.low)} to {points(difference.high)}), "
        f"{p_value(difference.p)}{verdict}"
    )


def summary(evaluation: Evaluation) -> list[str]:
    """What came out, a sentence for each generator: chance, the best ranker, and what was left to gain."""
    return [sentence for population in evaluation.populations if (sentence := _outcome(population, evaluation.n))]


def _outcome(population: Population, n: int) -> str | None:
    mean, oracle = population.ranker("mean"), population.ranker("oracle")
    rankers = [ranker for ranker in population.rankers if ranker.key not in UNRANKED]
    if mean is None or not rankers:
        return None
    best = max(rankers, key=lambda ranker: ranker.mean)
    title = population.title[:1].upper() + population.title[1:]
    words = (
        f"{title}: a program drawn at random solves {percent(mean.mean)} % of the tasks; the best of {n} by "
        f"{best.title} solves {percent(best.mean)} % ({percent(best.low)} to {percent(best.high)})"
    )
    if oracle is None:
        return words + "."
    words += f"; {percent(oracle.mean)} % have a correct program among the {n}"
    room = oracle.mean - mean.mean
    gain = best.mean - mean.mean
    if gain <= 0:
        return words + ". No ranker beats drawing at random here."
    return words + (f", so choosing closes {percent(gain / room, 0)} % of the gap." if room > 0 else ".")
