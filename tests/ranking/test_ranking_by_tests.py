"""Rankers by generated tests: what they read of verdicts, refuse, and report."""

import pytest

from rewardranker.errors import DataError
from rewardranker.ranking import B4, CodeT, GeneratedTests, MaxPass, Ranker, TestOutcomes
from rewardranker.types import Sample, Task, Verdict

TASK, OTHER = Task("t", "def f():\n"), Task("u", "def g():\n")
TESTS = [GeneratedTests("t", ("assert f(1)", "assert f(2)"), (3, 1), 4), GeneratedTests("u", (), (), 4)]


def sample(number: int, program: str = "", task: str = "t") -> Sample:
    return Sample(task, number, program, program, program or f"p{number}")


def verdict(number: int, outcomes: str, total: int = 2, seconds: float = 0.5, cached: bool = False) -> Verdict:
    return Verdict(
        "t", number, False, "wrong answer", tests_total=total, outcomes=outcomes, seconds=seconds, cached=cached
    )


VERDICTS = [verdict(0, "10"), verdict(1, "11"), verdict(2, "1-", cached=True), verdict(3, "")]
SAMPLES = [sample(n) for n in range(4)]


def scores(ranker: Ranker, samples: list[Sample] = SAMPLES) -> list[float]:
    return list(ranker.rank([(TASK, samples)])[0].scores)


def test_a_test_that_was_not_run_does_not_hold() -> None:
    # 0 and 2 pass the first test (drawn 3 times) alone, 1 both, 3 did not load.
    assert scores(MaxPass(TestOutcomes(TESTS, VERDICTS))) == [3, 4, 3, 0]
    assert scores(CodeT(TestOutcomes(TESTS, VERDICTS))) == [3 * 2**0.5, 4, 3 * 2**0.5, 0]


@pytest.mark.parametrize("make", [CodeT, MaxPass, B4])
def test_a_task_without_tests_leaves_a_tie(make: type[CodeT]) -> None:
    ranker = make(TestOutcomes(TESTS, []))
    assert list(ranker.rank([(OTHER, [sample(0, task="u"), sample(1, task="u")])])[0].scores) == [0, 0]


def test_b4_counts_equal_programs_once() -> None:
    copies = [sample(0, "same"), sample(1, "other"), sample(2, "same"), sample(3, "third")]
    distinct = [copies[0], copies[1], copies[3]]
    outcomes = TestOutcomes(TESTS, [verdict(0, "10"), verdict(1, "11"), verdict(2, "10"), verdict(3, "00")])
    found = scores(B4(outcomes), copies)
    assert [found[0], found[1], found[3]] == scores(B4(outcomes), distinct)
    assert found[0] == found[2]


def test_order_of_samples_does_not_matter() -> None:
    outcomes = TestOutcomes(TESTS, VERDICTS)
    for ranker in (CodeT(outcomes), MaxPass(outcomes), B4(outcomes)):
        backwards = scores(ranker, SAMPLES[::-1])
        assert backwards == scores(ranker)[::-1]


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (TestOutcomes([], VERDICTS), "no generated tests"),
        (TestOutcomes(TESTS, VERDICTS[:2]), "sample 2 was not run"),
        (TestOutcomes(TESTS, [verdict(n, "101", 3) for n in range(4)]), "verdicts are of other tests"),
    ],
)
def test_what_is_missing_is_named(outcomes: TestOutcomes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scores(CodeT(outcomes))


def test_cost_counts_programs_that_ran() -> None:
    ranker = CodeT(TestOutcomes(TESTS, VERDICTS))
    scores(ranker)
    assert (ranker.cost.programs, ranker.cost.execution_seconds) == (3, 1.5)
