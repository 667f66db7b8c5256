"""Mining: each rule by itself, the random control, positives, and what is refused."""

import pytest

from rewardranker.config import PreferenceOptions
from rewardranker.errors import DataError
from rewardranker.preference import MiningStatistics, merge_groups, mine
from rewardranker.types import PreferenceGroup, Sample, Task, Verdict

PROMPT = "def f(a):\n"
# (answer, passed, score): four correct, six wrong.
PROGRAMS = [
    *[("a", True, 2.0), ("a + 0", True, 1.0), ("+a", True, 0.5), ("a * 1", True, -1.0)],
    *[
        ("1", False, 3.0),
        ("2", False, 1.5),
        ("3", False, 0.0),
        ("4", False, -0.5),
        ("5", False, -2.0),
        ("6", False, -4.0),
    ],
]


def run(
    programs: list[tuple[str, bool, float]] = PROGRAMS,
    tasks: int = 1,
    known: list[PreferenceGroup] | None = None,
    **options: object,
) -> tuple[list[PreferenceGroup], MiningStatistics]:
    names = [f"t{i}" for i in range(tasks)]
    samples, verdicts, scores = [], [], []
    for name in names:
        for number, (answer, passed, score) in enumerate(programs):
            text = answer if "return" in answer else f"    return {answer}\n"
            samples.append(
                Sample(name, number, text, text, PROMPT + text, (), (), "stop", "policy", 5, 0.7, 0.9, round=1)
            )
            verdicts.append(Verdict(name, number, passed, "passed" if passed else "exception"))
            scores.append(score)
    recipe = PreferenceOptions(**{"positives": False, "negatives_per_task": 99, **options})  # type: ignore[arg-type]
    return mine([Task(name, PROMPT) for name in names], samples, verdicts, scores, recipe, round=2, known=known or [])


def mined(*arguments: object, **options: object) -> list[str]:
    groups, _ = run(*arguments, **options)  # type: ignore[arg-type]
    return [c.completion.removeprefix("    return ").strip() for g in groups for c in g.candidates]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "123456"),
        ({"negatives_per_task": 2}, "12"),
        ({"min_score": 0.0}, "123"),
        ({"max_score": 1.5}, "23456"),
        ({"absolute_margin": 2.5}, "1234"),  # the best correct one scores 2.0
        ({"relative_margin": 1.3}, "123"),  # the deviation of all ten is 1.93: down to -0.51 ... see below
        ({"min_score": -1.0, "max_score": 2.0}, "234"),
        ({"max_score": 1.5, "negatives_per_task": 1}, "2"),
    ],
)
def test_each_rule_admits_what_it_says(options: dict[str, float], expected: str) -> None:
    if "relative_margin" in options:
        mean = sum(score for *_, score in PROGRAMS) / 10
        deviation = (sum((score - mean) ** 2 for *_, score in PROGRAMS) / 10) ** 0.5
        expected = "".join(a for a, ok, s in PROGRAMS if not ok and s >= 2.0 - 1.3 * deviation)
        assert 0 < len(expected) < 6
    assert "".join(mined(**options)) == expected


def test_hard_negatives_carry_their_score_and_where_they_come_from() -> None:
    groups, _ = run(negatives_per_task=1)
    candidate = groups[0].candidates[0]
    assert (candidate.origin, candidate.mined_score, candidate.status) == ("hard_negative", 3.0, "exception")
    assert (candidate.round, candidate.model, candidate.seed) == (2, "policy", 5)
    assert (candidate.temperature, candidate.top_p, candidate.sample_id) == (0.7, 0.9, 4)


def test_a_margin_needs_a_correct_sample() -> None:
    wrong = [p for p in PROGRAMS if not p[1]]
    assert mined(wrong) == list("123456")
    assert mined(wrong, absolute_margin=100.0) == []
    assert mined(wrong, relative_margin=100.0) == []


def test_the_random_control_takes_as_many_from_all_wrong_programs() -> None:
    rules = {"min_score": 0.0, "negatives_per_task": 2}
    hard, _ = run(tasks=40, **rules)
    groups, statistics = run(tasks=40, mining="random", **rules)
    assert [len(g.candidates) for g in groups] == [len(g.candidates) for g in hard] == [2] * 40
    taken = {c.completion for g in groups for c in g.candidates}
    assert len(taken) == 6  # also the low-scored ones, which the rule keeps from `hard`
    assert {c.origin for g in groups for c in g.candidates} == {"random_negative"}
    assert not any(c.passed for g in groups for c in g.candidates)
    assert statistics.negatives == 80
    assert run(tasks=40, mining="random", **rules)[0] == groups
    assert run(tasks=40, mining="random", seed=1, **rules)[0] != groups
    assert run(tasks=40, mining="random", min_score=99.0)[0] == []


def test_no_mining_takes_positives_alone() -> None:
    groups, statistics = run(mining="none", positives=True)
    assert (len(groups[0].correct), len(groups[0].wrong)) == (4, 0)
    assert (statistics.negatives, statistics.positives) == (0, 4)


def test_positives_are_drawn_without_regard_to_score() -> None:
    groups, _ = run(tasks=40, mining="none", positives=True, positives_per_task=1)
    taken = [g.candidates[0] for g in groups]
    assert len({c.completion for c in taken}) == 4
    assert {c.origin for c in taken} == {"positive"}
    assert all(c.passed and c.mined_score is not None for c in taken)


def test_equal_programs_are_mined_once_in_their_highest_scored_spelling() -> None:
    spelled = ["    x = 7\n    return x\n", "    y = 7\n    return y\n"]
    groups, statistics = run([(spelled[0], False, 1.0), (spelled[1], False, 2.0), ("a", True, 0.0)])
    assert [c.completion for c in groups[0].candidates] == [spelled[1]]
    assert (statistics.duplicates, statistics.wrong) == (1, 1)
    assert len(run([(s, False, 1.0) for s in spelled], deduplicate=False)[0][0].candidates) == 2


def test_contradicting_verdicts_are_not_mined() -> None:
    groups, statistics = run([("7", False, 1.0), ("7", True, 2.0), ("8", False, 0.0)])
    assert [c.completion for c in groups[0].candidates] == ["    return 8\n"]
    assert statistics.conflicts == 2


def test_what_is_known_is_not_mined_again() -> None:
    known, _ = run(negatives_per_task=2)
    groups, statistics = run(negatives_per_task=2, known=known)
    assert [c.completion.strip() for c in groups[0].candidates] == ["return 3", "return 4"]
    assert statistics.known == 2
    assert len(merge_groups(known, groups, PreferenceOptions())[0].candidates) == 4


def test_statistics_by_hand() -> None:
    _, statistics = run(min_score=0.0, max_score=1.5, negatives_per_task=1, positives=True, positives_per_task=2)
    assert statistics.eligible == {"min_score": 3, "max_score": 5}
    assert (statistics.wrong, statistics.correct, statistics.eligible_under_all) == (6, 4, 2)
    assert (statistics.negatives, statistics.positives) == (1, 2)
    assert statistics.mean_score_negatives == 1.5
    assert statistics.mean_score_correct == pytest.approx(0.625)
    assert statistics.mean_score_wrong == pytest.approx(-2 / 6)
    assert (statistics.tasks_without_negatives, statistics.tasks_without_mined) == (0, 0)
    _, none = run(tasks=3, min_score=9.0)
    assert (none.tasks_without_negatives, none.tasks_without_mined, none.mean_score_negatives) == (3, 3, None)


def test_broken_scores_are_refused() -> None:
    task, one = Task("t", PROMPT), Sample("t", 0, "", "    return 1\n", "")
    verdict, options = Verdict("t", 0, False, ""), PreferenceOptions()
    with pytest.raises(DataError, match="2 scores for 1 samples"):
        mine([task], [one], [verdict], [1.0, 2.0], options, round=1)
    with pytest.raises(DataError, match=r"1 samples: score is not a finite number \(first: task 't' sample 0: nan\)"):
        mine([task], [one], [verdict], [float("nan")], options, round=1)
    with pytest.raises(DataError, match=r"1 samples: no score \(first: task 't' sample 0\)"):
        mine([task], [one], [verdict], {("t", 1): 0.0}, options, round=1)
    groups, _ = mine([task], [one], [verdict], {("t", 0): 0.5}, options, round=1)
    assert groups[0].candidates[0].mined_score == 0.5
