"""Figures by language, source and difficulty."""

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation.groups import break_down
from rewardranker.types import Task

OPTIONS = EvaluationOptions(bootstrap=500)
RNG = np.random.default_rng(0)
FIGURES = RNG.random((40, 2))
COLUMNS = [("r", 1), ("r", 2)]


def tasks(languages: list[str], **metadata: list[str]) -> list[Task]:
    values = [dict(zip(metadata, row, strict=True)) for row in zip(*metadata.values(), strict=True)] or [{}] * 40
    return [Task(f"t{i}", "", language, metadata=values[i]) for i, language in enumerate(languages)]


def test_each_group_has_the_mean_of_its_tasks_and_the_average_that_of_the_groups() -> None:
    made = tasks(["python"] * 10 + ["cpp"] * 30, source=["a", "b"] * 20)
    (language, source), notes = break_down(made, [t.task_id for t in made], COLUMNS, FIGURES, OPTIONS)
    assert [(g.value, g.tasks) for g in language.groups] == [("python", 10), ("cpp", 30)]
    python, cpp = FIGURES[:10].mean(axis=0), FIGURES[10:].mean(axis=0)
    assert [row.mean for row in language.groups[0].rows] == pytest.approx(python)
    assert [row.mean for row in language.average] == pytest.approx((python + cpp) / 2)
    assert [row.mean for row in source.groups[1].rows] == pytest.approx(FIGURES[1::2].mean(axis=0))
    assert notes == []


def test_the_width_of_the_average_is_that_of_independent_groups() -> None:
    made = tasks(["python"] * 10 + ["cpp"] * 30)
    ((language,), _) = break_down(made, [t.task_id for t in made], COLUMNS, FIGURES, OPTIONS)
    widths = [(g.rows[0].high - g.rows[0].low) / 2 for g in language.groups]
    average = language.average[0]
    assert (average.high - average.low) / 2 == pytest.approx(np.hypot(*widths) / 2, rel=0.12)


def test_translations_of_one_problem_do_not_count_as_independent() -> None:
    one = RNG.random(20)
    figures = np.concatenate([one, one])[:, None]
    made = tasks(["python"] * 20 + ["cpp"] * 20)
    ((language,), _) = break_down(made, [str(i % 20) for i in range(40)], [("r", 1)], figures, OPTIONS)
    alone, average = language.groups[0].rows[0], language.average[0]
    assert (average.low, average.high) == pytest.approx((alone.low, alone.high))


def test_fields_of_one_value_are_left_out_except_the_language() -> None:
    made = tasks(["python"] * 40, source=["a"] * 40)
    found, _ = break_down(made, [t.task_id for t in made], COLUMNS, FIGURES, OPTIONS)
    assert [breakdown.by for breakdown in found] == ["language"]


def test_tasks_without_the_field_are_a_group() -> None:
    made = [Task(f"t{i}", "", metadata={"difficulty": "hard"} if i % 2 else {}) for i in range(40)]
    found, _ = break_down(made, [t.task_id for t in made], COLUMNS, FIGURES, OPTIONS, by=("difficulty",))
    assert [group.value for group in found[0].groups] == ["(none)", "hard"]


def test_a_field_of_many_values_is_told_and_left_out() -> None:
    made = tasks(["python"] * 40, source=[f"s{i}" for i in range(40)])
    found, notes = break_down(made, [t.task_id for t in made], COLUMNS, FIGURES, OPTIONS)
    assert [breakdown.by for breakdown in found] == ["language"]
    assert notes == ["no figures by source: it has 40 values, more than 30"]
