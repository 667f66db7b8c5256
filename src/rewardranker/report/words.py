"""Figures in plain words, for the terminal and the page alike."""

from __future__ import annotations

from dataclasses import dataclass

from rewardranker.report.figures import EVALUATED, Difference, Evaluation, Population, Ranker

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
    drawn = f"{evaluation.n} programs drawn for each"
    if evaluation.samples is not None:
        drawn = f"{evaluation.samples:,} programs, best of {evaluation.n}"
    return f"{evaluation.tasks:,} tasks, {drawn}, {percent(evaluation.confidence, 0)} % intervals over tasks"


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the few figures that a page opens with."""

    title: str
    value: str
    remark: str


def headline(evaluation: Evaluation) -> list[Headline]:
    """Chance, the choice that stands for the whole, what no choice can pass; the share of that room that it takes."""
    population, ranker = evaluation.system or _representative(evaluation)
    mean, oracle = population.ranker("mean"), population.ranker("oracle")
    found = []
    if mean is not None:
        of = "" if population.key == EVALUATED else f" of {population.title}"
        found.append(Headline(f"one program{of} at random", f"{percent(mean.mean)} %", _bounds(mean)))
    if ranker is not None:
        found.append(
            Headline(f"best of {evaluation.n} by {ranker.title}", f"{percent(ranker.mean)} %", _bounds(ranker))
        )
    if oracle is not None:
        found.append(Headline(f"any of {evaluation.n} (oracle)", f"{percent(oracle.mean)} %", _bounds(oracle)))
    if mean and oracle and ranker and oracle.mean > mean.mean:
        share = (ranker.mean - mean.mean) / (oracle.mean - mean.mean)
        found.append(Headline("of the gap closed", f"{percent(share, 0)} %", "from random to oracle, by choosing"))
    return found


def _representative(evaluation: Evaluation) -> tuple[Population, Ranker | None]:
    """The last generator and its main ranker, or the best one where there is no reward model."""
    population = evaluation.populations[-1]
    rankers = [ranker for ranker in population.rankers if ranker.key not in UNRANKED]
    chosen = population.ranker(evaluation.main_ranker) if evaluation.main_ranker else None
    return population, chosen or max(rankers, key=lambda ranker: ranker.mean, default=None)


def _bounds(ranker: Ranker) -> str:
    return f"{percent(ranker.low)} to {percent(ranker.high)}"


def difference_in_words(difference: Difference) -> str:
    """`reranker - mean: +12.1 (9.0 to 15.3), p < 0.001`, and whether it can be told from chance."""
    verdict = "" if difference.significant else ": can't be told from chance"
    return (
        f"{difference.title}: {points(difference.mean)} ({points(difference.low)} to {points(difference.high)}), "
        f"{p_value(difference.p)}{verdict}"
    )


def summary(evaluation: Evaluation) -> list[str]:
    """What came out: the whole system, declared before anything was measured, then a sentence for each generator."""
    found = [_whole_system(evaluation)]
    found += [_outcome(population, evaluation) for population in evaluation.populations]
    found += [_beside_free(p, evaluation) for p in evaluation.populations if p.key == EVALUATED]
    return [sentence for sentence in found if sentence]


def _whole_system(evaluation: Evaluation) -> str | None:
    if evaluation.system is None:
        return None
    population, ranker = evaluation.system
    words = (
        f"The whole system, named before it was measured ({population.title}, the best of {evaluation.n} by "
        f"{ranker.title}), solves {percent(ranker.mean)} % of the tasks ({percent(ranker.low)} to "
        f"{percent(ranker.high)})"
    )
    start = next((p for p in evaluation.populations if p.key == "sft"), None)
    greedy = start.ranker("greedy") if start else None
    return words + (f"; the SFT generator's greedy programs solve {percent(greedy.mean)} %." if greedy else ".")


def _beside_free(population: Population, evaluation: Evaluation) -> str | None:
    """A trained reranker is worth what it adds to the best choice that needs none."""
    trained = population.ranker(evaluation.main_ranker) if evaluation.main_ranker else None
    free = [r for r in population.rankers if r.key not in UNRANKED and "reward" not in r.key]
    if trained is None or not free:
        return None
    best = max(free, key=lambda ranker: ranker.mean)
    return (
        f"{trained.title} solves {percent(trained.mean)} %; the best choice without a reward model, picked after the "
        f"fact, is {best.title} with {percent(best.mean)} %: {points(trained.mean - best.mean)} points."
    )


def _outcome(population: Population, evaluation: Evaluation) -> str | None:
    """One generator: chance, the system's ranker, what was left to gain; as a remark the ranker that did best."""
    mean, oracle, n = population.ranker("mean"), population.ranker("oracle"), evaluation.n
    rankers = [ranker for ranker in population.rankers if ranker.key not in UNRANKED]
    if mean is None or not rankers:
        return None
    best = max(rankers, key=lambda ranker: ranker.mean)
    chosen = population.ranker(evaluation.system[1].key) if evaluation.system else None
    if population.key == EVALUATED:  # picked by its kind, not by its figure
        chosen = population.ranker(evaluation.main_ranker)
    shown = chosen or best
    title = population.title[:1].upper() + population.title[1:]
    if population.key == EVALUATED:  # of an evaluation: titled by its model
        title = f"Programs of {population.title}" if population.title != EVALUATED else "These programs"
    words = (
        f"{title}: a program drawn at random solves {percent(mean.mean)} % of the tasks; the best of {n} by "
        f"{shown.title} solves {percent(shown.mean)} % ({percent(shown.low)} to {percent(shown.high)})"
    )
    if oracle is not None:
        words += f"; {percent(oracle.mean)} % have a correct program among the {n}"
        room, gain = oracle.mean - mean.mean, shown.mean - mean.mean
        if gain > 0 and room > 0:
            words += f", so choosing closes {percent(gain / room, 0)} % of the gap"
    words += "."
    if best.mean <= mean.mean:
        return words + " No ranker beats drawing at random here."
    if chosen is None:
        return words + " That ranker was picked after the fact, on these tasks."
    if best.mean > chosen.mean:
        words += f" Best here, picked after the fact on these tasks: {best.title}, {percent(best.mean)} %."
    return words
