"""Prune-then-rank: who is thrown out, and that the inner ranker never sees them."""

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.ranking import Pruned, Reward
from rewardranker.types import Sample, Task, Verdict

TASKS = [Task("t", ""), Task("cpp", "", language="cpp")]
GOOD, BETTER, BROKEN = "x = 1\n", "x = 22\n", "x = = 1 and long\n"


def sample(number: int, program: str, task: str = "t") -> Sample:
    return Sample(task, number, program, program, program)


class Longest:
    def __init__(self) -> None:
        self.read: list[str] = []

    def predict(self, pairs):  # type: ignore[no-untyped-def]
        self.read += [completion for _, completion in pairs]
        return np.array([len(completion) for _, completion in pairs], np.float32)


def verdict(number: int, passed: bool) -> Verdict:
    return Verdict("t", number, passed, "passed" if passed else "wrong answer", seconds=0.5)


def test_a_program_that_does_not_parse_is_thrown_out() -> None:
    scorer = Longest()
    ranker = Pruned(Reward(scorer))
    samples = [sample(0, GOOD), sample(1, BROKEN), sample(2, BETTER)]
    assert ranker.rank([(TASKS[0], samples)])[0].scores == (len(GOOD), -np.inf, len(BETTER))
    assert BROKEN not in scorer.read
    assert ranker.kept == pytest.approx(2 / 3)


def test_other_languages_are_not_parsed_as_python() -> None:
    ranking = Pruned(Reward(Longest())).rank([(TASKS[1], [sample(0, "int x;", "cpp")])])[0]
    assert ranking.scores == (6,)


def test_the_first_test_throws_out() -> None:
    ranker = Pruned(Reward(Longest()), [verdict(0, True), verdict(1, False)])
    assert ranker.rank([(TASKS[0], [sample(0, GOOD), sample(1, BETTER)])])[0].scores == (len(GOOD), -np.inf)
    assert (ranker.cost.programs, ranker.cost.execution_seconds) == (2, 1.0)


def test_where_none_is_left_none_was_thrown_out() -> None:
    ranking = Pruned(Reward(Longest()), [verdict(0, False), verdict(1, False)]).rank(
        [(TASKS[0], [sample(0, GOOD), sample(1, BETTER)])]
    )[0]
    assert ranking.scores == (len(GOOD), len(BETTER))


def test_a_task_that_shows_no_test_is_only_parsed() -> None:
    ranker = Pruned(Reward(Longest()), [])
    assert ranker.rank([(TASKS[0], [sample(0, GOOD)])])[0].scores == (len(GOOD),)


def test_a_missing_verdict_is_named() -> None:
    with pytest.raises(DataError, match="sample 1 has no verdict on the task's first test"):
        Pruned(Reward(Longest()), [verdict(0, True)]).rank([(TASKS[0], [sample(0, GOOD), sample(1, GOOD)])])
