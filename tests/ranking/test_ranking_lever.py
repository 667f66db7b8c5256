"""Reward over execution outcomes: what the reward model reads, LEVER's sum by hand, training data."""

from math import exp, log

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.ranking import (
    Lever,
    OutcomeReward,
    ProgramOutputs,
    groups_with_outcomes,
    lever_scores,
    with_outcomes,
)
from rewardranker.types import Candidate, PreferenceGroup, Sample, Task

TASK = Task("t", "def f(a):\n")
CALLS = ("f(1)", "f('x')", "f(3)", "f(4)")


def sample(number: int, completion: str, *logprobs: float) -> Sample:
    return Sample("t", number, completion, completion, completion, tuple(range(len(logprobs))), logprobs)


SAMPLES = [sample(0, "A\n", -1.0), sample(1, "B\n", -2.0), sample(2, "C\n", -0.5), sample(3, "A\n", -1.0)]
OUTPUTS = [
    ProgramOutputs("t", n, CALLS, outputs)
    for n, outputs in enumerate([("2", "!TypeError", "4", "5"), ("2", "!TypeError", "4", "5"), ("0", "", "0", "0")])
]
OUTPUTS.append(ProgramOutputs("t", 3, CALLS, OUTPUTS[0].outputs, 0))


class ByLetter:
    """Scores by the completion's first letter; remembers what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def predict(self, pairs):  # type: ignore[no-untyped-def]
        self.read += [completion for _, completion in pairs]
        return np.array([{"A": 1.0, "B": 0.0, "C": 2.0}[completion[0]] for _, completion in pairs], np.float32)


def test_the_reward_model_reads_what_the_program_returned() -> None:
    scorer = ByLetter()
    ranking = OutcomeReward(scorer, OUTPUTS).rank([(TASK, SAMPLES)])[0]
    assert scorer.read[0] == "A\n# f(1) -> 2\n# f('x') -> raises TypeError\n# f(3) -> 4\n"
    assert scorer.read[2] == "C\n# f(1) -> 0\n# f('x') -> not run\n# f(3) -> 0\n"
    assert ranking.scores == (1, 0, 2, 1)
    assert ranking.sample_ids == (0, 1, 2, 3)


def test_a_program_that_did_not_end_raised_nothing() -> None:
    assert with_outcomes("A", ("f(1)", "f(2)"), ("!timeout", "!KeyError")).splitlines()[1:] == [
        "# f(1) -> timeout",
        "# f(2) -> raises KeyError",
    ]


def test_lever_by_hand() -> None:
    """Programs A and B return the same; the copy of A counts once."""

    def joint(logprob: float, reward: float) -> float:
        return exp(logprob) / (1 + exp(-reward))

    together = log(joint(-1.0, 1.0) + joint(-2.0, 0.0))
    alone = log(joint(-0.5, 2.0))
    scores = Lever(ByLetter(), OUTPUTS).rank([(TASK, SAMPLES)])[0].scores
    assert scores == pytest.approx((together, together, alone, together))
    assert scores[0] == scores[1] == scores[3]


def test_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    values, joint, programs = rng.integers(0, 2, (8, 2)), rng.normal(size=8), list(range(8))
    order = rng.permutation(8)
    shuffled = lever_scores(values[order], joint[order], [programs[i] for i in order])
    assert shuffled.tolist() == lever_scores(values, joint, programs)[order].tolist()


def test_what_is_missing_is_named() -> None:
    with pytest.raises(DataError, match="sample 3 has no outputs"):
        OutcomeReward(ByLetter(), OUTPUTS[:3]).rank([(TASK, SAMPLES)])
    with pytest.raises(DataError, match="token log-probabilities and task 't' sample 0 has none"):
        Lever(ByLetter(), OUTPUTS).rank([(TASK, [sample(0, "A\n")])])


def test_training_groups_show_the_same_text() -> None:
    candidates = tuple(Candidate(text, passed, float(passed)) for text, passed in [("A\n", True), ("unseen\n", False)])
    groups, left_out = groups_with_outcomes([PreferenceGroup("t", TASK.prompt, candidates)], SAMPLES, OUTPUTS)
    assert left_out == 1
    (kept,) = groups[0].candidates
    assert kept.completion == with_outcomes("A\n", CALLS, OUTPUTS[0].outputs)
    assert kept.passed
