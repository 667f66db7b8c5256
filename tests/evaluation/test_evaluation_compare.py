"""Two evaluations of the same tasks, compared task by task."""

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation import Evaluation, Ranked, against, difference_between, evaluate
from rewardranker.types import Ranking, Sample, Task, Verdict

OPTIONS = EvaluationOptions(n=4, bootstrap=300)
RNG = np.random.default_rng(0)
HARD = RNG.random((60, 1))


def evaluation(model: str, shift: float, order: list[int]) -> Evaluation:
    rng = np.random.default_rng(1)
    passed = rng.random((60, 4)) < np.clip(HARD + shift, 0, 1)
    scores = passed + rng.normal(size=passed.shape)
    tasks = [Task(f"t{i}", "") for i in order]
    samples = [Sample(t.task_id, k, "", "", "", model=model) for t in tasks for k in range(4)]
    verdicts = [Verdict(f"t{i}", k, bool(passed[i, k]), "") for i in order for k in range(4)]
    rankings = [Ranking(f"t{i}", "r", (0, 1, 2, 3), tuple(scores[i].tolist())) for i in order]
    return evaluate(tasks, samples, verdicts, [Ranked("r", rankings), *extra(model, order)], OPTIONS)


def extra(model: str, order: list[int]) -> list[Ranked]:
    return [Ranked("only", [Ranking(f"t{i}", "only", (0, 1, 2, 3), (0.0,) * 4) for i in order])] * (model == "large")


SMALL = evaluation("small", 0.0, list(range(60)))
LARGE = evaluation("large", 0.2, list(range(60))[::-1])


def test_differences_are_paired_by_task_whatever_their_order() -> None:
    found = against(LARGE, SMALL, OPTIONS, "runs/small")
    assert (found.path, found.model, found.tasks) == ("runs/small", "small", 60)
    assert [d.ranker for d in found.differences] == ["mean of n", "r", "oracle"]
    theirs = dict(zip(SMALL.task_ids, SMALL.figures("r"), strict=True))
    expected = np.mean(
        [value - theirs[task_id] for task_id, value in zip(LARGE.task_ids, LARGE.figures("r"), strict=True)]
    )
    by_name = {d.ranker: d for d in found.differences}
    assert by_name["r"].mean == pytest.approx(expected)
    assert by_name["mean of n"].p_value < 0.01
    assert by_name["mean of n"].p_adjusted >= by_name["mean of n"].p_value
    # Pairing is what makes it narrow: the tasks of both are equally hard.
    mean = by_name["mean of n"]
    assert mean.high - mean.low < 0.8 * (LARGE.rows[0].high - LARGE.rows[0].low)


def test_any_two_figures_can_be_compared() -> None:
    found = difference_between(SMALL, "r", LARGE, "mean of n", OPTIONS)
    order = [LARGE.task_ids.index(task_id) for task_id in SMALL.task_ids]
    theirs = np.array(LARGE.figures("mean of n"))[order]
    assert found.mean == pytest.approx((np.array(SMALL.figures("r", 4)) - theirs).mean())
    less = difference_between(SMALL, "r", SMALL, "r", OPTIONS, n=2, other_n=4)
    assert less.mean == pytest.approx(np.mean(SMALL.figures("r", 2)) - np.mean(SMALL.figures("r", 4)))


def test_other_tasks_can_not_be_compared() -> None:
    with pytest.raises(DataError, match=r"1 tasks are in one of the two evaluations only \(such as 't9'\)"):
        against(SMALL, evaluation("m", 0.0, [i for i in range(60) if i != 9]), OPTIONS)


def test_a_figure_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"no best of 3 by 'r'; it has 'mean of n', 'r', 'oracle', n = \[1, 2, 4\]"):
        difference_between(SMALL, "r", LARGE, "r", OPTIONS, n=3)
    with pytest.raises(DataError, match=r"no best of 4 by 'q'"):
        SMALL.figures("q")


def test_another_n_can_not_be_compared() -> None:
    with pytest.raises(DataError, match=r"runs/q has no best of 3, only of \[1, 2, 4\]"):
        against(SMALL, LARGE, OPTIONS.model_copy(update={"n": 3}), "runs/q")
