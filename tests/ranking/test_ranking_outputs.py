"""Majority, MBR and SRank against small examples by hand, and against their definitions spelled out."""

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.ranking import (
    MBR,
    GeneratedTests,
    Majority,
    OutputTable,
    ProgramOutputs,
    SRank,
    TestOutcomes,
    majority_scores,
    mbr_scores,
    srank_scores,
)
from rewardranker.types import Sample, Task, Verdict

TASK = Task("t", "def f():\n")
CALLS = ("f(1)", "f(2)")
OUTPUTS = [("2", "3"), ("2", "3"), ("2", "4"), ("2", "!ValueError"), ("!ValueError", "!ValueError"), ("2", "")]
SAMPLES = [Sample("t", n, "", "", f"program {n}") for n in range(len(OUTPUTS))]
TABLE = OutputTable([ProgramOutputs("t", n, CALLS, outputs, 1, 0.25) for n, outputs in enumerate(OUTPUTS)])
RNG = np.random.default_rng(1)


def test_majority_by_hand() -> None:
    # Exceptions are behaviour too, but a program that never returns is no answer.
    assert list(Majority(TABLE).rank([(TASK, SAMPLES)])[0].scores) == [2, 2, 1, 1, 0, 1]


def test_mbr_by_hand() -> None:
    # On f(1) five programs return 2; on f(2) two return 3 and one 4; exceptions agree with nothing.
    assert list(MBR(TABLE).rank([(TASK, SAMPLES)])[0].scores) == [3.5, 3.5, 3, 2.5, 0, 2.5]


def test_mbr_is_the_sum_over_pairs() -> None:
    values = RNG.integers(-2, 3, (9, 5))
    expected = [sum(((a == b) & (a >= 0)).mean() for b in values) for a in values]
    assert mbr_scores(values) == pytest.approx(expected)


def test_srank_by_hand() -> None:
    # Clusters: {0, 1} with pass rate 1, {2} with 1/2; they agree on one of two inputs. Three programs in clusters.
    values = np.array([[0, 1], [0, 1], [0, 2], [-2, -2]])
    rates = np.array([1, 1, 0.5, 1])
    first, second = 2 / 3 * 1, 1 / 3 * 0.5
    expected = [first + second / 2, first + second / 2, second + first / 2, 0]
    assert srank_scores(values, rates, np.ones(4, int)) == pytest.approx(expected)


def test_srank_is_its_definition() -> None:
    values = RNG.integers(-2, 2, (10, 3))
    values[0] = [-1, -2, -1]
    clusters = sorted({tuple(row) for row in values.tolist() if max(row) >= 0})
    rate = {cluster: RNG.random() for cluster in clusters}
    rates = np.array([rate.get(tuple(row), 0.3) for row in values.tolist()])
    size = {cluster: sum(tuple(row) == cluster for row in values.tolist()) for cluster in clusters}
    total = sum(size.values())
    expected = []
    for row in map(tuple, values.tolist()):
        overlaps = {c: np.mean([x == y and x >= 0 for x, y in zip(row, c, strict=True)]) for c in clusters}
        overlaps[row] = 1.0
        score = sum(overlaps[c] * size[c] / total * rate[c] for c in clusters) if row in clusters else 0
        expected.append(score)
    assert srank_scores(values, rates, np.ones(10, int)) == pytest.approx(expected)


def test_srank_ranks_by_outputs_and_generated_tests() -> None:
    tests = [GeneratedTests("t", ("assert f(1) == 2", "assert f(2) == 4"), (1, 1))]
    marks = ["10", "10", "11", "10", "00", "10"]
    verdicts = [
        Verdict("t", n, False, "wrong answer", tests_total=2, outcomes=m, seconds=1) for n, m in enumerate(marks)
    ]
    ranker = SRank(TABLE, TestOutcomes(tests, verdicts))
    scores = list(ranker.rank([(TASK, SAMPLES)])[0].scores)
    # Shares of 5 programs times pass rates: {0,1} 0.2, {2} 0.2, {3} 0.1, {5} 0.1; all agree on f(1).
    assert scores == pytest.approx([0.2 + 0.2, 0.2 + 0.2, 0.2 + 0.2, 0.1 + 0.25, 0, 0.1 + 0.25])
    assert ranker.cost.programs == 12
    assert ranker.cost.execution_seconds == pytest.approx(6 * 0.25 + 6)


def test_srank_counts_equal_programs_once() -> None:
    copies = [Sample("t", 0, "", "", "same"), SAMPLES[2], Sample("t", 1, "", "", "same")]
    tests = [GeneratedTests("t", ("assert f(1) == 2",), (1,))]
    verdicts = [Verdict("t", n, False, "wrong answer", tests_total=1, outcomes="1") for n in range(3)]
    scores = list(SRank(TABLE, TestOutcomes(tests, verdicts)).rank([(TASK, copies)])[0].scores)
    assert scores == pytest.approx([0.75, 0.75, 0.75])  # two clusters of one program each that agree on f(1)


def test_order_of_programs_and_inputs_does_not_matter() -> None:
    values = RNG.integers(-2, 3, (11, 4))
    programs, calls = RNG.permutation(11), RNG.permutation(4)
    for score in (majority_scores, mbr_scores, lambda v: srank_scores(v, (v == 0).mean(axis=1), np.ones(11, int))):
        assert score(values[programs][:, calls]) == pytest.approx(score(values)[programs])


def test_without_inputs_all_tie() -> None:
    table = OutputTable([ProgramOutputs("t", n, (), (), 0) for n in range(2)])
    for ranker in (Majority(table), MBR(table)):
        assert list(ranker.rank([(TASK, SAMPLES[:2])])[0].scores) == [0, 0]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([ProgramOutputs("t", 0, CALLS, ("1", "2"))], "sample 1 has no outputs"),
        (
            [ProgramOutputs("t", 0, CALLS, ("1", "2")), ProgramOutputs("t", 1, ("f(9)",), ("1",))],
            "sample 1 was run on other inputs",
        ),
    ],
)
def test_what_is_missing_is_named(records: list[ProgramOutputs], message: str) -> None:
    with pytest.raises(DataError, match=message):
        MBR(OutputTable(records)).rank([(TASK, SAMPLES[:2])])
