"""Rankers by name: `codet`, `reward:runs/x`, `prune+reward:runs/x`, `reward:runs/x+0.5*logprob`.

A spec is one ranker, or several joined by `+`, each with an optional weight in front: scores are then brought to mean 0
and deviation 1 over a task's samples and added. `prune+` in front throws out programs before the rest is asked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from rewardranker.errors import ConfigError, DataError
from rewardranker.ranking.by_tests import B4, CodeT, MaxPass, TestOutcomes
from rewardranker.ranking.lever import Lever, OutcomeReward
from rewardranker.ranking.likelihood import CoderReviewer, Likelihood, LikelihoodScorer, Reviewer
from rewardranker.ranking.outputs import MBR, Majority, OutputTable, ProgramOutputs, SRank
from rewardranker.ranking.protocol import GENERATED_TESTS, LOGPROBS, OUTCOMES, OUTPUTS, SCORES, VERDICTS, Ranker
from rewardranker.ranking.pruning import Pruned
from rewardranker.ranking.rankers import (
    First,
    MeanLogProbability,
    Oracle,
    Random,
    Reward,
    Shortest,
    SumLogProbability,
    Weighted,
)
from rewardranker.types import Scorer, Verdict

T = TypeVar("T")
_TESTS = frozenset({GENERATED_TESTS, OUTCOMES})
_PRUNE = "prune"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What rankers are made from; what a spec does not need may stay None."""

    reward: Callable[[str], Scorer] | None = None
    """Loads a reward model by path or name."""
    likelihood: Callable[[str], LikelihoodScorer] | None = None
    """Loads a language model by path or name."""
    verdicts: Iterable[Verdict] | None = None
    """On the tasks' own tests."""
    outcomes: TestOutcomes | None = None
    outputs: Iterable[ProgramOutputs] | None = None
    first_tests: Iterable[Verdict] | None = None
    """On the first test that each task shows; `prune` checks syntax alone without them."""


@dataclass(frozen=True, slots=True)
class _Kind:
    make: Callable[[str, Sources, str], Ranker]
    """From the argument, the sources and the ranker's name."""
    needs: frozenset[str]
    argument: str
    """What stands behind the colon; empty: nothing does."""
    about: str


def _reward(argument: str, sources: Sources, spec: str) -> Scorer:
    return _given(sources.reward, spec, "a way to load reward models")(argument)


def _model(argument: str, sources: Sources, spec: str) -> LikelihoodScorer:
    return _given(sources.likelihood, spec, "a way to load language models")(argument)


def _outcomes(sources: Sources, spec: str) -> TestOutcomes:
    return _given(sources.outcomes, spec, "generated tests and the programs' outcomes on them")


def _outputs(sources: Sources, spec: str) -> list[ProgramOutputs]:
    return list(_given(sources.outputs, spec, "what the programs return on the tasks' inputs"))


def _given(value: T | None, spec: str, what: str) -> T:
    if value is None:
        raise DataError(f"ranker '{spec}' needs {what}, which was not given")
    return value


_NOTHING = frozenset[str]()
_KINDS: dict[str, _Kind] = {
    "reward": _Kind(
        lambda a, s, n: Reward(_reward(a, s, n), n), frozenset({SCORES}), "MODEL", "a reward model's score"
    ),
    "logprob": _Kind(
        lambda a, s, n: SumLogProbability(n),
        frozenset({LOGPROBS}),
        "",
        "log-probability of the program under the generator",
    ),
    "mean-logprob": _Kind(
        lambda a, s, n: MeanLogProbability(n), frozenset({LOGPROBS}), "", "the same, a token (Chen et al. 2021)"
    ),
    "likelihood": _Kind(
        lambda a, s, n: Likelihood(_model(a, s, n), name=n),
        frozenset({SCORES}),
        "MODEL",
        "log-probability of the program under this model",
    ),
    "mean-likelihood": _Kind(
        lambda a, s, n: Likelihood(_model(a, s, n), mean=True, name=n),
        frozenset({SCORES}),
        "MODEL",
        "the same, a token",
    ),
    "reviewer": _Kind(
        lambda a, s, n: Reviewer(_model(a, s, n), name=n),
        frozenset({SCORES}),
        "MODEL",
        "log-probability of the task given the program",
    ),
    "coder-reviewer": _Kind(
        lambda a, s, n: CoderReviewer(_model(a, s, n), name=n),
        frozenset({SCORES}),
        "MODEL",
        "likelihood + reviewer (arXiv 2211.16490)",
    ),
    "codet": _Kind(
        lambda a, s, n: CodeT(_outcomes(s, n)), _TESTS, "", "agreement on generated tests (arXiv 2207.10397)"
    ),
    "codet-product": _Kind(
        lambda a, s, n: CodeT(_outcomes(s, n), root=False, name=n), _TESTS, "", "the same without the square root"
    ),
    "maxpass": _Kind(lambda a, s, n: MaxPass(_outcomes(s, n)), _TESTS, "", "number of generated tests passed"),
    "b4": _Kind(lambda a, s, n: B4(_outcomes(s, n)), _TESTS, "", "posterior of consensus sets (arXiv 2409.08692)"),
    "majority": _Kind(
        lambda a, s, n: Majority(OutputTable(_outputs(s, n))), frozenset({OUTPUTS}), "", "the most frequent outputs"
    ),
    "mbr": _Kind(
        lambda a, s, n: MBR(OutputTable(_outputs(s, n))),
        frozenset({OUTPUTS}),
        "",
        "minimum Bayes risk by execution (arXiv 2204.11454)",
    ),
    "srank": _Kind(
        lambda a, s, n: SRank(OutputTable(_outputs(s, n)), _outcomes(s, n)),
        frozenset({OUTPUTS}) | _TESTS,
        "",
        "functional overlap of clusters (arXiv 2311.03366)",
    ),
    "lever": _Kind(
        lambda a, s, n: Lever(_reward(a, s, n), _outputs(s, n), n),
        frozenset({SCORES, OUTPUTS, LOGPROBS}),
        "MODEL",
        "reward over outcomes x log-probability, summed over equal outputs (arXiv 2302.08468)",
    ),
    "outcome-reward": _Kind(
        lambda a, s, n: OutcomeReward(_reward(a, s, n), _outputs(s, n), n),
        frozenset({SCORES, OUTPUTS}),
        "MODEL",
        "reward of the program with what it returned",
    ),
    "shortest": _Kind(lambda a, s, n: Shortest(), _NOTHING, "", "fewest characters"),
    "first": _Kind(lambda a, s, n: First(), _NOTHING, "", "the sample drawn first"),
    "random": _Kind(lambda a, s, n: Random(), _NOTHING, "", "a sample drawn at random"),
    "oracle": _Kind(
        lambda a, s, n: Oracle(_given(s.verdicts, n, "verdicts on the tasks' tests")),
        frozenset({VERDICTS}),
        "",
        "a program that passes, where there is one",
    ),
}


def ranker_names() -> dict[str, str]:
    """Every name with the form of its argument, and what it ranks by."""
    found = {f"{name}:{kind.argument}" if kind.argument else name: kind.about for name, kind in _KINDS.items()}
    return found | {f"{_PRUNE}+...": "only programs that parse and pass the first public test (arXiv 2506.10056)"}


@dataclass(frozen=True, slots=True)
class _Term:
    weight: float
    name: str
    argument: str

    @property
    def text(self) -> str:
        return f"{self.name}:{self.argument}" if self.argument else self.name


def check_spec(spec: str) -> frozenset[str]:
    """What a spec's rankers need beside the samples' texts, without making them.

    Raises:
        ConfigError: an unknown name, a missing or superfluous argument, or a wrong weight.
    """
    _, terms = _parse(spec)
    return _NOTHING.union(*(_KINDS[term.name].needs for term in terms))


def arguments(spec: str, *names: str) -> list[str]:
    """The arguments that rankers of these names have in a spec: the models it would load.

    Raises:
        ConfigError: as `check_spec`.
    """
    return [term.argument for term in _parse(spec)[1] if term.name in names]


def make_ranker(spec: str, sources: Sources | None = None) -> Ranker:
    """The ranker that a spec describes.

    Raises:
        ConfigError: as `check_spec`.
        DataError: it needs something that `sources` lacks.
    """
    sources = sources or Sources()
    prune, terms = _parse(spec)
    made = [(_KINDS[term.name].make(term.argument, sources, term.text), term.weight) for term in terms]
    ranker: Ranker
    if len(made) == 1 and made[0][1] == 1:
        ranker = made[0][0]
    else:
        ranker = Weighted(dict(made), "+".join(_shown(term) for term in terms), standardise=True)
    return Pruned(ranker, sources.first_tests, spec) if prune else ranker


def _shown(term: _Term) -> str:
    return term.text if term.weight == 1 else f"{term.weight:g}*{term.text}"


def _parse(spec: str) -> tuple[bool, list[_Term]]:
    parts = [part.strip() for part in spec.split("+")]
    prune = parts[0] == _PRUNE
    terms = [_term(part, spec) for part in parts[prune:]]
    if not terms:
        raise ConfigError(f"ranker '{spec}': '{_PRUNE}' needs a ranker for what is left, such as prune+reward:runs/x")
    if len({term.text for term in terms}) < len(terms):
        raise ConfigError(f"ranker '{spec}': the same ranker twice; give it once, with a weight")
    return prune, terms


def _term(part: str, spec: str) -> _Term:
    match = re.fullmatch(r"(?:(?P<weight>[^*:]*)\*)?(?P<name>[^*:]*)(?::(?P<argument>.*))?", part)
    if match is None:
        raise ConfigError(f"ranker '{spec}': '{part}' is not of the form [WEIGHT*]NAME[:ARGUMENT]")
    name, argument = match["name"].strip(), (match["argument"] or "").strip()
    if name not in _KINDS:
        near = difflib.get_close_matches(name, [*_KINDS, _PRUNE], 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        if name == _PRUNE:
            hint = f"; '{_PRUNE}+' stands in front of all others, without a weight"
        raise ConfigError(f"ranker '{spec}': there is no ranker '{name}'{hint}\nknown: {', '.join(ranker_names())}")
    wanted = _KINDS[name].argument
    if bool(wanted) != bool(argument):
        form = f"{name}:{wanted}" if wanted else name
        raise ConfigError(f"ranker '{spec}': write '{form}'" + (f", with a {wanted.lower()}" if wanted else ""))
    try:
        weight = 1.0 if match["weight"] is None else float(match["weight"])
    except ValueError:
        weight = float("nan")
    if not (weight and abs(weight) < float("inf")):
        raise ConfigError(f"ranker '{spec}': '{match['weight']}' is not a weight: a number other than 0")
    return _Term(weight, name, argument)
