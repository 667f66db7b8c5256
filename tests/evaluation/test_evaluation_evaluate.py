"""The whole evaluation against its parts."""

import json

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation import best_of_n, evaluate, pass_at_k, powers
from rewardranker.types import Ranking, Sample, Task, Verdict

OPTIONS = EvaluationOptions(n=6, bootstrap=200)
RNG = np.random.default_rng(0)
PASSED = RNG.random((40, 6)) < 0.4
GOOD = PASSED + RNG.normal(scale=0.5, size=PASSED.shape)
BAD = RNG.normal(size=PASSED.shape)
TASKS = [Task(f"t{i}", "") for i in range(40)]
SAMPLES = [Sample(t.task_id, k, "", f"x = {k % 3}", f"x = {k % 3}") for t in TASKS for k in range(6)]
VERDICTS = [Verdict(f"t{i}", k, bool(PASSED[i, k]), "") for i in range(40) for k in range(6)]


class Fixed:
    """A ranker with given scores."""

    def __init__(self, name: str, scores: np.ndarray) -> None:
        self.name, self.scores = name, scores

    def rank(self, candidates):  # type: ignore[no-untyped-def]
        return [
            Ranking(task.task_id, self.name, tuple(s.sample_id for s in samples), tuple(row))
            for (task, samples), row in zip(candidates, self.scores.tolist(), strict=True)
        ]


def run(**arguments):  # type: ignore[no-untyped-def]
    rankers = [Fixed("good", GOOD), Fixed("bad", BAD)]
    return evaluate(TASKS, SAMPLES, VERDICTS, rankers, OPTIONS, **arguments)


def test_rows_hold_the_exact_figures_of_every_ranker_chance_and_the_oracle() -> None:
    rows = {(row.ranker, row.n): row for row in run().rows}
    assert {n for _, n in rows} == {1, 2, 4, 6}
    for n in (1, 2, 4, 6):
        assert rows["good", n].mean == pytest.approx(best_of_n(GOOD, PASSED, n).mean())
        assert rows["oracle", n].mean == pytest.approx(pass_at_k(PASSED, n).mean())
        assert rows["mean of n", n].mean == pytest.approx(PASSED.mean())
        assert rows["good", n].low <= rows["good", n].mean <= rows["good", n].high


def test_differences_are_against_each_baseline() -> None:
    result = run(baselines=("mean of n", "bad"))
    found = {(d.ranker, d.baseline): d for d in result.differences}
    assert set(found) == {("good", "mean of n"), ("bad", "mean of n"), ("good", "bad")}
    expected = (best_of_n(GOOD, PASSED, 6) - best_of_n(BAD, PASSED, 6)).mean()
    assert found["good", "bad"].mean == pytest.approx(expected)
    assert found["good", "mean of n"].p_value < 0.05 < found["bad", "mean of n"].p_value


def test_the_record_is_json_and_the_table_shows_every_ranker() -> None:
    result = run(key=lambda sample: sample.program)
    record = json.loads(json.dumps(result.to_record(), allow_nan=False))
    assert record["rows"][0].keys() == {"ranker", "n", "mean", "low", "high"}
    assert record["distinct"] == 3.0
    table = result.to_markdown()
    rows = {(row.ranker, row.n): row for row in result.rows}
    for name in ("mean of n", "good", "bad", "oracle"):
        assert f"| {name} |" in table
        assert f"{100 * rows[name, 6].mean:.1f} [" in table


def test_all_passing_or_none_passing_leaves_ordering_figures_out() -> None:
    verdicts = [Verdict(v.task_id, v.sample_id, True, "") for v in VERDICTS]
    quality = evaluate(TASKS, SAMPLES, verdicts, [Fixed("r", BAD)], OPTIONS).quality[0]
    assert (quality.pairwise_accuracy, quality.auc, quality.mrr) == (None, None, 1.0)


def test_names_must_tell_rankers_apart() -> None:
    with pytest.raises(DataError, match="two rankers have one name"):
        evaluate(TASKS, SAMPLES, VERDICTS, [Fixed("r", BAD), Fixed("r", GOOD)], OPTIONS)
    with pytest.raises(DataError, match="baseline 'first' is not among the rankers: mean of n, r, oracle"):
        evaluate(TASKS, SAMPLES, VERDICTS, [Fixed("r", BAD)], OPTIONS, baselines=("first",))


def test_powers_end_with_n() -> None:
    assert [powers(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
