"""Scores from which program passes which generated test: CodeT, MaxPass, B4. Arrays in, arrays out.

A consensus set is the programs that pass exactly the same tests, with these tests; every formula here gives all its
programs one score. Permuting programs or tests changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ConsensusSets:
    """Programs grouped by the tests that they pass."""

    member: Ints
    """Shape [programs]: the set of each program."""
    programs: Ints
    """Shape [sets]: number of programs in each."""
    passes: Bools
    """Shape [sets, tests]."""


def consensus_sets(passes: Bools, weights: Ints | None = None) -> ConsensusSets:
    """Group programs.

    Args:
        passes: shape [programs, tests].
        weights: shape [programs]: how much each counts in `ConsensusSets.programs`; None: 1 each.
    """
    rows, member = np.unique(passes, axis=0, return_inverse=True)
    member = member.reshape(-1)
    counts = np.bincount(member, weights=weights, minlength=len(rows))
    return ConsensusSets(member, counts.astype(np.int64), rows.astype(bool))


def codet_scores(passes: Bools, counts: Ints, *, root: bool = True, weights: Ints | None = None) -> Floats:
    """Dual execution agreement (CodeT, arXiv 2207.10397): f(S) = |S_x| |S_y| for the consensus set S of a program.

    S_x is its programs and S_y its tests; equal programs and equal tests each count as often as they were drawn. With
    `root`, sqrt(|S_x|) |S_y|, which the paper's experiments use so that many alike wrong programs weigh less.

    Args:
        passes: shape [programs, tests].
        counts: shape [tests]: how often each test was drawn.
        weights: shape [programs]; None: 1 each.

    Returns:
        Shape [programs].
    """
    sets = consensus_sets(passes, weights)
    size = np.sqrt(sets.programs) if root else sets.programs.astype(np.float64)
    return np.asarray((size * (sets.passes @ counts))[sets.member], np.float64)


def max_pass_scores(passes: Bools, counts: Ints) -> Floats:
    """Number of generated tests that a program passes, as often as they were drawn: the heuristic that B4's paper
    (arXiv 2409.08692, section 2.2) calls MaxPass."""
    return np.asarray(passes @ counts, np.float64)


def b4_scores(passes: Bools, *, alpha: float = 1e3, beta: float = 1e5, weights: Ints | None = None) -> Floats:
    """B4 (arXiv 2409.08692, section 4): the log posterior that the correct programs and correct tests are exactly those
    of a program's consensus set, up to a constant of the task.

    With N programs, M tests, the set's n programs and m tests:

        log B(n + alpha, N - n + 1) + log B(m + alpha, M - m + 1)
        + log B(k1 + 1, (N - n) m - k1 + 1) + log B(k0 + 1, (N - n)(M - m) - k0 + beta)

    where k1 of the (N - n) m pairs of a wrong program with a correct test pass, k0 of the (N - n)(M - m) pairs of a
    wrong program with a wrong test, and B is the beta function. Correct programs pass correct tests always; that they
    pass no wrong test is what makes the set's tests all that its programs pass. Priors: Beta(alpha, 1) for the shares
    of correct programs and of correct tests (most are correct, or else nothing could be chosen), Beta(1, 1) for a wrong
    program that passes a correct test, Beta(1, beta) for one that passes a wrong test (rare).

    The defaults are those that the paper's code runs for real models: alpha 1e3, and of its beta 1e4, 1e5, 1e6 the
    middle one. They are not tuned here.

    Args:
        passes: shape [programs, tests].
        weights: shape [programs]; None: 1 each. The paper's code counts equal programs, and equal tests, once.

    Returns:
        Shape [programs].
    """
    weight = np.ones(len(passes), np.int64) if weights is None else weights
    sets = consensus_sets(passes, weight)
    programs, tests = int(weight.sum()), passes.shape[1]
    passed = weight @ passes.astype(np.int64)
    """Shape [tests]: how many programs pass each."""
    scores = np.empty(len(sets.programs))
    for index, (row, n) in enumerate(zip(sets.passes, sets.programs.tolist(), strict=True)):
        m = int(row.sum())
        k1 = int(passed[row].sum()) - n * m
        k0 = int(passed[~row].sum())
        scores[index] = (
            _log_beta(n + alpha, programs - n + 1)
            + _log_beta(m + alpha, tests - m + 1)
            + _log_beta(k1 + 1, (programs - n) * m - k1 + 1)
            + _log_beta(k0 + 1, (programs - n) * (tests - m) - k0 + beta)
        )
    return scores[sets.member]


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
