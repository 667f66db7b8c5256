"""Rankers by a language model's likelihood: of the program given the task, and of the task given the program."""

from __future__ import annotations

import ast
import textwrap
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import ModelError
from rewardranker.ranking.protocol import SCORES, Candidates, Cost, make_ranking
from rewardranker.types import Ranking, Sample, Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_REQUEST = "\n\n# Write a docstring for the above function\n"


class LikelihoodScorer(Protocol):
    """A language model that says how likely one text is after another (`generation.likelihood` makes them)."""

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> tuple[Floats, Ints]:
        """For each (context, continuation): the natural log-probability of the continuation's tokens, summed, and
        their number; both of shape [pairs]."""
        ...


class Likelihood:
    """log p(y | x): the log-probability of a program under a model, which need not be the one that drew it.

    Args:
        mean: divide by the number of tokens (Chen et al. 2021, arXiv 2107.03374, section 3.3).
    """

    needs = frozenset({SCORES})

    def __init__(self, scorer: LikelihoodScorer, *, mean: bool = False, name: str = "likelihood") -> None:
        self.name = name
        self.cost = Cost()
        self._scorer, self._mean = scorer, mean

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """
        Raises:
            ModelError: the scorer gives another number of figures than it was asked for, or NaN.
        """
        started = time.perf_counter()
        pairs = [[self._pair(task, sample) for sample in samples] for task, samples in candidates]
        distinct = list(dict.fromkeys(pair for row in pairs for pair in row))  # equal ones tie exactly
        sums, tokens = self._scorer.log_likelihoods(distinct) if distinct else (np.empty(0), np.empty(0, np.int64))
        if sums.shape != (len(distinct),) or tokens.shape != sums.shape or np.isnan(sums).any():
            raise ModelError(
                f"the scorer of '{self.name}' gave {sums.shape} log-probabilities, {int(np.isnan(sums).sum())} of them "
                f"NaN, and {tokens.shape} token counts for {len(distinct)} texts"
            )
        figures = np.where(tokens > 0, sums / np.maximum(tokens, 1), -np.inf) if self._mean else sums
        scores = dict(zip(distinct, figures.tolist(), strict=True))
        rankings = [
            make_ranking(task, samples, self.name, [scores[pair] for pair in row])
            for (task, samples), row in zip(candidates, pairs, strict=True)
        ]
        self.cost = Cost(time.perf_counter() - started)
        return rankings

    def _pair(self, task: Task, sample: Sample) -> tuple[str, str]:
        return task.prompt, sample.completion


class Reviewer(Likelihood):
    """log p(x | y): the log-probability of the task's text given the program (Coder-Reviewer, arXiv 2211.16490).

    The model reads the program without its docstring and a request to write one, and the docstring is what is scored;
    for a prompt that is not the head of a Python function, the program and then the whole prompt.
    """

    def __init__(self, scorer: LikelihoodScorer, *, mean: bool = False, name: str = "reviewer") -> None:
        super().__init__(scorer, mean=mean, name=name)

    def _pair(self, task: Task, sample: Sample) -> tuple[str, str]:
        return reviewer_texts(task.prompt, sample.completion)


class CoderReviewer:
    """log p(y | x) + log p(x | y) under one model (Coder-Reviewer, arXiv 2211.16490, equation 2).

    Args:
        mean: of both, the mean over their tokens (the paper's normalised variant).
    """

    needs = frozenset({SCORES})

    def __init__(self, scorer: LikelihoodScorer, *, mean: bool = False, name: str = "coder-reviewer") -> None:
        self.name = name
        self._coder = Likelihood(scorer, mean=mean, name=name)
        self._reviewer = Reviewer(scorer, mean=mean, name=name)

    @property
    def cost(self) -> Cost:
        return self._coder.cost + self._reviewer.cost

    def rank(self, candidates: Candidates) -> list[Ranking]:
        parts = zip(self._coder.rank(candidates), self._reviewer.rank(candidates), strict=True)
        return [
            make_ranking(task, samples, self.name, np.add(coder.scores, reviewer.scores))
            for (task, samples), (coder, reviewer) in zip(candidates, parts, strict=True)
        ]


def reviewer_texts(prompt: str, completion: str) -> tuple[str, str]:
    """What the reviewer reads, and the text that is scored.

    Example:
        >>> reviewer_texts('def f(a):\\n    "Double a."\\n', "    return 2 * a\\n")
        ('def f(a):\\n    return 2 * a\\n\\n# Write a docstring for the above function\\n"Double a."\\n', ...)
    """
    parts = _split_docstring(prompt)
    if parts is None:
        return f"{completion.rstrip()}\n\n", prompt
    head, docstring = parts
    body = completion if completion[:1].isspace() else textwrap.indent(completion, "    ")
    return f"{head}{body.lstrip(chr(10)).rstrip()}{_REQUEST}", docstring


def _split_docstring(prompt: str) -> tuple[str, str] | None:
    """A prompt up to its last function's docstring, and that literal's text; None if it has none."""
    try:
        tree = ast.parse(prompt.rstrip() + "\n    pass\n")
    except (SyntaxError, ValueError, RecursionError):
        return None
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.FunctionDef) or ast.get_docstring(last) is None:
        return None
    literal = last.body[0]
    lines = prompt.split("\n")
    head = "\n".join(lines[: literal.lineno - 1]) + "\n"
    text = "\n".join(lines[literal.lineno - 1 : literal.end_lineno])
    return head, text.strip() + "\n"
