"""The whole evaluation against its parts."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation import (
    Ranked,
    best_of_n,
    evaluate,
    mean_pass,
    pairwise_accuracy,
    pass_at_k,
    powers,
    read_evaluation,
    write_evaluation,
)
from rewardranker.types import Ranking, Sample, Task, Verdict

OPTIONS = EvaluationOptions(n=6, bootstrap=200)
RNG = np.random.default_rng(0)
PASSED = RNG.random((40, 6)) < 0.4
GOOD = PASSED + RNG.normal(scale=0.5, size=PASSED.shape)
BAD = RNG.normal(size=PASSED.shape)
TASKS = [Task(f"t{i}", "", "cpp" if i % 4 else "python", metadata={"difficulty": f"d{i % 3}"}) for i in range(40)]
SAMPLES = [
    Sample(t.task_id, k, "", f"x = {k % 3}", f"x = {k % 3}  # {k}", token_ids=(1,) * (k + 1))
    for t in TASKS
    for k in range(6)
]
VERDICTS = [Verdict(f"t{i}", k, bool(PASSED[i, k]), "") for i in range(40) for k in range(6)]
GREEDY = (
    [Sample(task.task_id, 0, "", "", "", token_ids=(1, 2), temperature=0.0) for task in TASKS],
    [Verdict(task.task_id, 0, i % 2 == 0, "") for i, task in enumerate(TASKS)],
)


class Fixed:
    """A ranker with given scores."""

    def __init__(self, name: str, scores: np.ndarray) -> None:
        self.name, self.scores = name, scores

    def rank(self, candidates):  # type: ignore[no-untyped-def]
        return [
            Ranking(task.task_id, self.name, tuple(s.sample_id for s in samples), tuple(row[: len(samples)]))
            for (task, samples), row in zip(candidates, self.scores.tolist(), strict=True)
        ]


def run(**arguments):  # type: ignore[no-untyped-def]
    rankers = [Fixed("good", GOOD), Fixed("bad", BAD)]
    return evaluate(TASKS, SAMPLES, VERDICTS, rankers, OPTIONS, **arguments)


def test_rows_hold_the_exact_figures_of_every_ranker_chance_and_the_oracle() -> None:
    found = run(greedy=GREEDY)
    rows = {(row.ranker, row.n): row for row in found.rows}
    assert found.ns == [1, 2, 4, 6]
    for n in found.ns:
        assert rows["good", n].mean == pytest.approx(best_of_n(GOOD, PASSED, n).mean())
        assert rows["oracle", n].mean == pytest.approx(pass_at_k(PASSED, n).mean())
        assert rows["good", n].low <= rows["good", n].mean <= rows["good", n].high
    assert rows["mean of n", 1].mean == pytest.approx(PASSED.mean())
    assert rows["greedy", 1].mean == 0.5


def test_curves_reach_the_fewest_samples_of_a_task_whatever_n_is() -> None:
    found = evaluate(TASKS, SAMPLES, VERDICTS, [Fixed("good", GOOD)], OPTIONS.model_copy(update={"n": 3}))
    assert found.ns == [1, 2, 3, 4, 6]
    assert found.n == 3
    assert found.figures("good") == pytest.approx(best_of_n(GOOD, PASSED, 3).tolist())


def test_tasks_of_unequal_numbers_of_samples_each_use_their_own() -> None:
    kept = [(s, v) for s, v in zip(SAMPLES, VERDICTS, strict=True) if s.sample_id < 4 or s.task_id != "t7"]
    samples, verdicts = zip(*kept, strict=True)
    options = OPTIONS.model_copy(update={"n": 2})
    found = evaluate(TASKS, samples, verdicts, [Fixed("good", GOOD)], options)
    assert (found.fewest_samples, found.most_samples, found.ns) == (4, 6, [1, 2, 4])
    expected = best_of_n(GOOD, PASSED, 2)
    expected[7] = best_of_n(GOOD[7:8, :4], PASSED[7:8, :4], 2)[0]
    assert found.figures("good") == pytest.approx(expected.tolist())
    expected = mean_pass(PASSED)
    expected[7] = PASSED[7, :4].mean()
    assert found.figures("mean of n") == pytest.approx(expected.tolist())
    assert "4 to 6 samples each" in found.to_markdown()


def test_differences_are_against_each_baseline_and_corrected_together() -> None:
    result = run(baselines=("mean of n", "bad"))
    found = {(d.ranker, d.baseline): d for d in result.differences}
    assert set(found) == {("good", "mean of n"), ("bad", "mean of n"), ("good", "bad")}
    expected = (best_of_n(GOOD, PASSED, 6) - best_of_n(BAD, PASSED, 6)).mean()
    assert found["good", "bad"].mean == pytest.approx(expected)
    assert found["good", "mean of n"].p_value < 0.05 < found["bad", "mean of n"].p_value
    assert found["good", "mean of n"].p_adjusted == pytest.approx(3 * found["good", "mean of n"].p_value)


def test_costs_grow_with_n_and_come_from_the_ranker_where_it_tells_them() -> None:
    told = Fixed("told", GOOD)
    told.cost = SimpleNamespace(seconds=480.0, programs=240, execution_seconds=24.0)  # type: ignore[attr-defined]
    found = evaluate(TASKS, SAMPLES, VERDICTS, [told, Fixed("timed", BAD)], OPTIONS, greedy=GREEDY)
    rows = {(row.ranker, row.n): row for row in found.rows}
    # 240 samples were scored, of 3.5 tokens on average: a task's best of 4 takes 4 of each.
    row = rows["told", 4]
    assert (row.tokens, row.seconds, row.programs, row.execution_seconds) == pytest.approx((14.0, 8.0, 4.0, 0.4))
    assert rows["timed", 4].seconds > rows["timed", 1].seconds > 0 == rows["timed", 4].programs
    assert (rows["greedy", 1].tokens, rows["mean of n", 1].tokens, rows["oracle", 2].programs) == (2.0, 3.5, 2.0)
    assert [(cost.ranker, cost.samples) for cost in found.costs] == [("told", 240), ("timed", 240)]


def test_costs_that_nobody_measured_are_not_said_to_be_none() -> None:
    rankings = Fixed("given", GOOD).rank([(task, SAMPLES[:6]) for task in TASKS])
    found = evaluate(TASKS, SAMPLES, VERDICTS, [Ranked("given", rankings)], OPTIONS)
    assert {row.seconds for row in found.rows if row.ranker == "given"} == {None}
    assert "| given | 21 | - | - | - |" in found.to_markdown()


def test_samples_without_tokens_have_no_cost_in_tokens() -> None:
    samples = [replace(sample, token_ids=()) for sample in SAMPLES]
    found = evaluate(TASKS, samples, VERDICTS, [Fixed("good", GOOD)], OPTIONS)
    assert {row.tokens for row in found.rows} == {None}
    assert "| good | - |" in found.to_markdown()


def test_infinite_scores_rank_and_are_counted() -> None:
    scores = np.where(GOOD < 0, -np.inf, GOOD)
    found = evaluate(TASKS, SAMPLES, VERDICTS, [Fixed("good", scores)], OPTIONS)
    assert found.quality[0].infinite_scores == (GOOD < 0).sum() > 0
    assert found.figures("good", 4) == pytest.approx(best_of_n(scores, PASSED, 4).tolist())
    assert found.quality[0].pairwise_accuracy.mean == pytest.approx(pairwise_accuracy(scores, PASSED).mean)
    json.dumps(found.to_record(), allow_nan=False)


def test_what_is_written_is_read_again(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = run(key=lambda sample: sample.completion, greedy=GREEDY)
    write_evaluation(found, tmp_path)
    assert read_evaluation(tmp_path) == read_evaluation(tmp_path / "evaluation.json") == found
    assert found.distinct == 3.0
    assert (tmp_path / "evaluation.md").read_text() == found.to_markdown()


def test_other_documents_are_no_evaluations(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"evaluation.json: no such file \(`rewardranker eval"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"name": "a run"}')
    with pytest.raises(DataError, match=r"expected an evaluation of schema rewardranker\.evaluation/1, found None"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"schema": ')
    with pytest.raises(DataError, match="not a JSON document"):
        read_evaluation(tmp_path)


def test_the_table_has_languages_as_columns_and_the_average_last() -> None:
    found = run(greedy=GREEDY)
    lines = found.to_markdown().splitlines()
    assert lines[2] == "| best of 6 by | python (10) | cpp (30) | average |"
    rows = {line.split(" | ")[0].strip("| "): line for line in lines[4:9]}
    assert list(rows) == ["mean of n", "greedy", "good", "bad", "oracle"]
    best = best_of_n(GOOD, PASSED, 6)
    python = np.arange(40) % 4 == 0
    cells = [cell.split(" [")[0] for cell in rows["good"].strip("| ").split(" | ")[1:]]
    means = (best[python].mean(), best[~python].mean())
    assert cells == [f"{100 * value:.1f}" for value in (*means, sum(means) / 2)]


def test_every_table_names_its_rows_and_their_numbers() -> None:
    table = run().to_markdown()
    assert "| good - mean of n | +" in table
    assert "p (Holm, 2 comparisons)" in table
    assert all(word in table for word in ("pairwise accuracy", "ECE", "tokens sampled", "programs executed", "d0 (14)"))


def test_all_passing_or_none_passing_leaves_ordering_figures_out() -> None:
    verdicts = [Verdict(v.task_id, v.sample_id, True, "") for v in VERDICTS]
    quality = evaluate(TASKS, SAMPLES, verdicts, [Fixed("r", BAD)], OPTIONS).quality[0]
    assert (quality.pairwise_accuracy, quality.auc, quality.mrr.mean) == (None, None, 1.0)


def test_names_must_tell_rankers_apart() -> None:
    with pytest.raises(DataError, match="two rankers have one name"):
        evaluate(TASKS, SAMPLES, VERDICTS, [Fixed("r", BAD), Fixed("r", GOOD)], OPTIONS)
    with pytest.raises(DataError, match="baseline 'first' is not among the rankers: mean of n, r, oracle"):
        evaluate(TASKS, SAMPLES, VERDICTS, [Fixed("r", BAD)], OPTIONS, baselines=("first",))


def test_every_task_needs_one_greedy_program_of_the_same_model() -> None:
    samples, verdicts = GREEDY
    with pytest.raises(DataError, match=r"1 tasks have no greedy program \(first: 't39'"):
        run(greedy=(samples[:-1], verdicts[:-1]))
    with pytest.raises(DataError, match=r"1 sample without verdict .*'t39' sample 0"):
        run(greedy=(samples, verdicts[:-1]))
    with pytest.raises(DataError, match="1 tasks have several greedy programs"):
        run(greedy=([*samples, replace(samples[0], sample_id=1)], [*verdicts, replace(verdicts[0], sample_id=1)]))
    with pytest.raises(DataError, match=r"1 greedy program with an id already used \('t3' sample 0\)"):
        run(greedy=([*samples, samples[3]], verdicts))
    with pytest.raises(DataError, match=r"of model \['', 'other'\], the samples of ''"):
        run(greedy=([replace(samples[0], model="other"), *samples[1:]], verdicts))


def test_left_out_tasks_and_notes_are_in_the_record_and_the_table() -> None:
    found = evaluate(
        [*TASKS, Task("empty", "")],
        SAMPLES,
        VERDICTS,
        [Ranked("r", [*Fixed("r", BAD).rank([(t, SAMPLES[:6]) for t in TASKS]), Ranking("x", "r", (0,), (0.0,))])],
        OPTIONS,
        drop_incomplete=True,
    )
    assert found.dropped == ("empty",)
    assert found.notes == ("1 scores of 'r' are of samples that are not evaluated",)
    assert "- 1 tasks left out for too few samples: empty\n- 1 scores of 'r'" in found.to_markdown()


def test_powers_end_with_n() -> None:
    assert [powers(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
