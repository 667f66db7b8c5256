"""Groups: what is in them, what is kept out, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from rewardranker.config import PreferenceOptions
from rewardranker.errors import ConfigError, DataError, TrainingError
from rewardranker.preference import build_groups, merge_groups, usable
from rewardranker.types import Candidate, PreferenceGroup, Sample, Task, Verdict

OPTIONS = PreferenceOptions()
PROMPT = "def f(a):\n"


def records(**programs: list[tuple[str, bool]]) -> tuple[list[Task], list[Sample], list[Verdict]]:
    """One task for each name, whose samples return the given expressions."""
    tasks = [Task(name, PROMPT) for name in programs]
    samples, verdicts = [], []
    for name, answers in programs.items():
        for number, (answer, passed) in enumerate(answers):
            completion = answer if "return" in answer else f"    return {answer}\n"
            samples.append(
                Sample(name, number, completion, completion, PROMPT + completion, model="m", seed=3, round=2)
            )
            verdicts.append(Verdict(name, number, passed, "passed" if passed else "wrong answer", "", int(passed), 1))
    return tasks, samples, verdicts


def many(correct: int, wrong: int) -> list[tuple[str, bool]]:
    return [(f"a + {i}", True) for i in range(correct)] + [(f"a - {i}", False) for i in range(wrong)]


def test_groups_follow_the_tasks_and_keep_both_classes() -> None:
    tasks, samples, verdicts = records(one=[("a", True), ("1", False), ("2", False)], two=[("3", False), ("a", True)])
    groups, statistics = build_groups(tasks, samples[::-1], verdicts, OPTIONS)
    assert [group.task_id for group in groups] == ["one", "two"]
    assert {c.completion for c in groups[0].wrong} == {"    return 1\n", "    return 2\n"}
    assert (statistics.groups, statistics.pairs) == (2, 3)
    candidate = groups[0].correct[0]
    assert (candidate.model, candidate.seed, candidate.round, candidate.sample_id) == ("m", 3, 2, 0)
    assert (candidate.origin, candidate.status, candidate.fraction) == ("sample", "passed", 1.0)


def test_tasks_of_one_class_are_kept_out_and_counted() -> None:
    tasks, samples, verdicts = records(both=many(1, 1), good=many(2, 0), bad=many(0, 3), empty=[])
    groups, statistics = build_groups(tasks, samples, verdicts, OPTIONS)
    assert [group.task_id for group in groups] == ["both"]
    assert (statistics.tasks_only_correct, statistics.tasks_only_wrong, statistics.tasks_without_samples) == (1, 1, 1)
    assert (statistics.tasks, statistics.correct, statistics.wrong) == (4, 3, 4)


def test_equal_programs_count_once_the_first_stays() -> None:
    spelled = ["    x = a\n    return x\n", "    y = a  # same\n    return y\n"]
    tasks, samples, verdicts = records(t=[(spelled[0], True), (spelled[1], True), ("0", False), ("0", False)])
    groups, statistics = build_groups(tasks, samples, verdicts, OPTIONS)
    assert [c.completion for c in groups[0].candidates] == [spelled[0], "    return 0\n"]
    assert (statistics.duplicates, statistics.conflicts) == (2, 0)
    kept, _ = build_groups(tasks, samples, verdicts, PreferenceOptions(deduplicate=False))
    assert len(kept[0].candidates) == 4


def test_equal_programs_with_different_verdicts_are_all_left_out() -> None:
    tasks, samples, verdicts = records(t=[("a", True), ("a", False), ("a", True), ("1", True), ("2", False)])
    groups, statistics = build_groups(tasks, samples, verdicts, OPTIONS)
    assert [c.completion for c in groups[0].candidates] == ["    return 1\n", "    return 2\n"]
    assert (statistics.conflicts, statistics.duplicates) == (3, 0)


@pytest.mark.parametrize(
    ("correct", "wrong", "limit", "kept"),
    [
        (20, 20, 16, (8, 8)),
        (3, 20, 16, (3, 13)),
        (20, 3, 16, (13, 3)),
        (20, 20, 5, (2, 3)),
        (2, 2, 16, (2, 2)),
        (9, 1, 2, (1, 1)),
    ],
)
def test_classes_are_as_equal_as_the_limit_allows(correct: int, wrong: int, limit: int, kept: tuple[int, int]) -> None:
    groups, _ = build_groups(*records(t=many(correct, wrong)), PreferenceOptions(max_candidates=limit))
    assert (len(groups[0].correct), len(groups[0].wrong)) == kept


def test_the_draw_depends_on_task_and_seed_alone() -> None:
    options = PreferenceOptions(max_candidates=6)
    tasks, samples, verdicts = records(s=many(3, 9), t=many(9, 9))
    drawn = {g.task_id: g.candidates for g in build_groups(tasks, samples, verdicts, options)[0]}
    alone = [list(filter(lambda r: r.task_id == "t", kind)) for kind in (tasks, samples, verdicts)]  # type: ignore[attr-defined]
    assert build_groups(*alone, options)[0][0].candidates == drawn["t"]  # type: ignore[arg-type]
    seeds = [build_groups(*records(t=many(9, 9)), options.model_copy(update={"seed": s}))[0][0] for s in range(5)]
    assert len({group.candidates for group in seeds}) > 1


def test_references_join_on_request() -> None:
    tasks, samples, verdicts = records(t=[("1", False)])
    tasks = [replace(tasks[0], reference="    return a\n")]
    with pytest.raises(TrainingError):
        build_groups(tasks, samples, verdicts, OPTIONS)
    options = OPTIONS.model_copy(update={"references": True})
    groups, _ = build_groups(tasks, samples, verdicts, options)
    assert [(c.completion, c.origin) for c in groups[0].correct] == [("    return a\n", "reference")]


def test_no_usable_group_says_why_and_what_to_do() -> None:
    with pytest.raises(TrainingError, match=r"of 3 tasks, 1 have only correct and 2 only wrong.*temperature.*easier"):
        build_groups(*records(good=many(2, 0), bad=many(0, 3), worse=many(0, 1)), OPTIONS)
    with pytest.raises(ConfigError, match="max_candidates"):
        build_groups(*records(t=many(1, 1)), PreferenceOptions(max_candidates=1))


Records = tuple[list[Task], list[Sample], list[Verdict]]
TASKS, SAMPLES, VERDICTS = records(t=many(1, 1), u=many(2, 1))
BROKEN: dict[str, tuple[Callable[[], Records], str]] = {
    "no verdict": (lambda: (TASKS, SAMPLES, VERDICTS[:3]), r"2 samples: no verdict \(first: task 'u' sample 1\)"),
    "no sample": (lambda: (TASKS, SAMPLES[:4], VERDICTS), r"1 verdicts: no sample \(first: task 'u' sample 2\)"),
    "unknown task": (lambda: (TASKS[:1], SAMPLES, VERDICTS), r"3 samples: unknown task \(first: task 'u' sample 0\)"),
    "duplicate sample": (lambda: (TASKS, [*SAMPLES, SAMPLES[1]], VERDICTS), r"1 samples: duplicate.*'t' sample 1"),
    "duplicate verdict": (lambda: (TASKS, SAMPLES, [*VERDICTS, VERDICTS[1]]), r"1 verdicts: duplicate.*'t' sample 1"),
    "duplicate task": (lambda: ([*TASKS, TASKS[1]], SAMPLES, VERDICTS), r"1 tasks: duplicate task_id \(first: u\)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_records_that_do_not_fit_are_refused(case: str) -> None:
    broken, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        build_groups(*broken(), OPTIONS)


# --- merging ---------------------------------------------------------------------------------------------------------


def group(name: str, *candidates: tuple[str, bool], origin: str = "sample") -> PreferenceGroup:
    made = tuple(Candidate(f"    return {answer}\n", ok, float(ok), origin=origin) for answer, ok in candidates)
    return PreferenceGroup(name, PROMPT, made)


def answers(found: PreferenceGroup) -> list[str]:
    return [c.completion.removeprefix("    return ").strip() for c in found.candidates]


def test_merging_adds_what_is_new_in_a_stable_order() -> None:
    old = [group("s", ("1", False), ("a", True)), group("t", ("1", False))]
    new = [group("u", ("3", False)), group("s", ("1  # again", False), ("(2)", False))]
    merged = merge_groups(old, new, OPTIONS)
    assert [(g.task_id, answers(g)) for g in merged] == [("s", ["1", "a", "(2)"]), ("t", ["1"]), ("u", ["3"])]
    assert [g.task_id for g in usable(merged)] == ["s"]


def test_a_new_verdict_against_an_old_one_leaves_both_out(caplog: pytest.LogCaptureFixture) -> None:
    merged = merge_groups([group("t", ("1", False), ("a", True))], [group("t", ("1", True))], OPTIONS)
    assert answers(merged[0]) == ["a"]
    assert "2 candidates left out" in caplog.text


def test_over_the_limit_the_new_ones_stay() -> None:
    old, new = group("t", *many(6, 6)), group("t", ("8", False), ("9", True), origin="hard_negative")
    merged = merge_groups([old], [new], PreferenceOptions(max_candidates=6))[0]
    assert (len(merged.correct), len(merged.wrong)) == (3, 3)
    assert {"8", "9"} <= set(answers(merged))


def test_programs_of_other_languages_are_compared_as_text() -> None:
    old, new = group("t", ("'a'", False)), group("t", ('"a"', False))
    assert len(merge_groups([old], [new], OPTIONS)[0].candidates) == 1
    assert len(merge_groups([old], [new], OPTIONS, languages={"t": "ruby"})[0].candidates) == 2


def test_groups_that_do_not_fit_are_refused() -> None:
    one = group("t", ("1", False))
    with pytest.raises(DataError, match="'t' occurs twice in the old groups"):
        merge_groups([one, one], [], OPTIONS)
    with pytest.raises(DataError, match="'t' has one prompt in the old groups and another"):
        merge_groups([one], [replace(one, prompt="def g(a):\n")], OPTIONS)
