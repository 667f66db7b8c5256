"""Records that do not fit each other are refused, with the count and the first of them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.evaluation import collect, score_vector
from rewardranker.types import Ranking, Sample, Task, Verdict

TASKS = [Task(f"t{i}", f"def f{i}():\n") for i in range(3)]
SAMPLES = [
    Sample(t.task_id, k, "", f"    return {k}\n", f"{t.prompt}    return {k}\n", model="m")
    for t in TASKS
    for k in range(4)
]
VERDICTS = [Verdict(s.task_id, s.sample_id, (i * 7) % 3 == 0, "passed") for i, s in enumerate(SAMPLES)]
Records = tuple[list[Task], list[Sample], list[Verdict]]


def test_arrays_follow_tasks_and_samples_whatever_the_order_of_verdicts() -> None:
    outcomes = collect(TASKS, SAMPLES, VERDICTS[::-1], 4)
    expected = {(v.task_id, v.sample_id): v.passed for v in VERDICTS}
    flat = [expected[s.task_id, s.sample_id] for row in outcomes.samples for s in row]
    assert outcomes.passed.tolist() == flat
    assert outcomes.counts.tolist() == [4, 4, 4]
    assert outcomes.model == "m"


BROKEN: dict[str, tuple[Callable[[], Records], str]] = {
    "sample without verdict": (lambda: (TASKS, SAMPLES, VERDICTS[:-2]), r"2 samples without verdict.*'t2' sample 2"),
    "verdict without sample": (
        lambda: (TASKS, SAMPLES, [*VERDICTS, replace(VERDICTS[0], sample_id=9)]),
        r"1 verdict without sample.*'t0' sample 9",
    ),
    "unknown task": (
        lambda: (TASKS[:2], SAMPLES, VERDICTS),
        r"4 samples of tasks that are not given.*'t2' sample 0",
    ),
    "task without samples": (
        lambda: ([*TASKS, Task("t3", "")], SAMPLES, VERDICTS),
        r"1 task of 4 with fewer than 4 samples.*'t3' with 0",
    ),
    "fewer than n": (lambda: (TASKS, SAMPLES[:-1], VERDICTS[:-1]), r"1 task of 3 with fewer than 4.*'t2' with 3"),
    "duplicate sample": (
        lambda: (TASKS, [*SAMPLES, SAMPLES[5]], VERDICTS),
        r"1 sample with an id already used.*'t1' sample 1",
    ),
    "duplicate verdict": (
        lambda: (TASKS, SAMPLES, [*VERDICTS, VERDICTS[5]]),
        r"1 verdict with an id already used.*'t1' sample 1",
    ),
    "duplicate task": (lambda: ([*TASKS, TASKS[1]], SAMPLES, VERDICTS), r"1 task with an id already used.*'t1'"),
    "mixed models": (
        lambda: (TASKS, [replace(SAMPLES[0], model="other"), *SAMPLES[1:]], VERDICTS),
        r"2 draws.*model 'other' and 'm'",
    ),
    "mixed temperatures": (
        lambda: (TASKS, [*SAMPLES[:-1], replace(SAMPLES[-1], temperature=0.0)], VERDICTS),
        r"2 draws.*temperature 1.0 and 0.0",
    ),
    "mixed rounds": (
        lambda: (TASKS, [*SAMPLES[:-1], replace(SAMPLES[-1], round=2)], VERDICTS),
        r"2 draws.*round 0 and 2",
    ),
    "nothing": (lambda: (TASKS, [], []), r"3 tasks and 0 samples"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_records_that_do_not_fit_are_refused(case: str) -> None:
    records, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        collect(*records(), 4)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match="have 4 samples at most but 5 are asked for"):
        collect(TASKS, SAMPLES, VERDICTS, 5)


def test_incomplete_tasks_are_left_out_only_on_request_and_named() -> None:
    outcomes = collect([*TASKS, Task("t3", "")], SAMPLES[:-1], VERDICTS[:-1], 4, drop_incomplete=True)
    assert [task.task_id for task in outcomes.tasks] == ["t0", "t1"]
    assert outcomes.dropped == ("t2", "t3")


def test_tasks_keep_all_their_samples_however_many() -> None:
    outcomes = collect(TASKS, SAMPLES[:-2], VERDICTS[:-2], 2)
    assert outcomes.counts.tolist() == [4, 4, 2]
    truth = outcomes.passed.astype(float)
    places = outcomes.per_task(lambda p: p.sum(axis=1) + 10.0 * p.shape[1], truth)
    expected = [sum(v.passed for v in VERDICTS[:-2] if v.task_id == f"t{i}") + 10 * n for i, n in enumerate((4, 4, 2))]
    assert places.tolist() == expected


def test_equal_programs_with_different_verdicts_are_told_or_are_of_other_samples() -> None:
    samples = [replace(sample, program="the same") for sample in SAMPLES]
    verdicts = [replace(v, passed=v.sample_id < 2) for v in VERDICTS]
    with pytest.raises(DataError, match=r"3 of 3 programs that were drawn repeatedly .* of other samples"):
        collect(TASKS, samples, verdicts)
    few = [replace(v, passed=v.task_id == "t0" and v.sample_id > 0) for v in VERDICTS]
    (note,) = collect(TASKS, samples, few).notes
    assert note.startswith("1 of 3 programs that were drawn repeatedly pass once and fail another time")


def test_verdicts_of_several_kinds_are_told() -> None:
    mixed = [replace(v, isolation="abc"[i % 2], toolchain=f"CPython 3.{i % 3}") for i, v in enumerate(VERDICTS)]
    notes = collect(TASKS, SAMPLES, mixed).notes
    assert notes == (
        "verdicts of several levels of isolation: 'a', 'b'",
        "verdicts of several toolchains of python: CPython 3.0, CPython 3.1, CPython 3.2",
    )
    assert collect(TASKS, SAMPLES, VERDICTS).notes == ()


def test_translations_of_a_problem_are_one_problem() -> None:
    tasks = [replace(task, metadata={"name": "same"}) for task in TASKS[:2]] + TASKS[2:]
    assert collect(tasks, SAMPLES, VERDICTS).problems == ("same", "same", "t2")


def test_scores_find_their_samples_in_any_order() -> None:
    outcomes = collect(TASKS, SAMPLES, VERDICTS)
    rankings = [
        Ranking(t.task_id, "r", (3, 1, 0, 2), tuple(10.0 * i + k for k in (3, 1, 0, 2))) for i, t in enumerate(TASKS)
    ]
    scores, notes = score_vector(outcomes, rankings[::-1])
    np.testing.assert_array_equal(scores.reshape(3, 4), np.arange(3)[:, None] * 10 + np.arange(4))
    assert notes == []


def test_scores_of_other_samples_are_counted() -> None:
    outcomes = collect(TASKS, SAMPLES, VERDICTS)
    more = [Ranking(t.task_id, "r", (0, 1, 2, 3, 4), (0.0,) * 5) for t in [*TASKS, Task("other", "")]]
    assert score_vector(outcomes, more)[1] == ["8 scores of 'r' are of samples that are not evaluated"]


def test_missing_double_and_mixed_scores_are_refused() -> None:
    outcomes = collect(TASKS, SAMPLES, VERDICTS)
    full = [Ranking(t.task_id, "r", (0, 1, 2, 3), (0.0, 0.0, 0.0, 0.0)) for t in TASKS]
    with pytest.raises(DataError, match=r"4 samples without score of 'r'.*'t2' sample 0"):
        score_vector(outcomes, full[:2])
    with pytest.raises(DataError, match=r"1 task ranked twice by 'r' \('t0'"):
        score_vector(outcomes, [*full, full[0]])
    with pytest.raises(DataError, match=r"several rankers \(r, q\)"):
        score_vector(outcomes, [*full[:2], replace(full[2], ranker="q")])
    with pytest.raises(DataError, match=r"1 score of 'r' that is NaN.*'t2' sample 1"):
        score_vector(outcomes, [*full[:2], replace(full[2], scores=(0.0, float("nan"), 0.0, 0.0))])
    with pytest.raises(DataError, match="2 scores for 4 samples"):
        score_vector(outcomes, [*full[:2], replace(full[2], scores=(0.0, 0.0))])
    with pytest.raises(DataError, match=r"1 sample of 't2' ranked twice \(sample 3"):
        score_vector(outcomes, [*full[:2], replace(full[2], sample_ids=(0, 1, 3, 3))])
