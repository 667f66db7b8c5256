"""Decontamination finds what is planted, keeps what is clean, and states composition overlap."""

import dataclasses
import json

import pytest

from rewardranker.tasks import load_tasks, overlap, remove_overlap
from rewardranker.tasks.normalization import normalized_program
from rewardranker.tasks.signatures import signature
from rewardranker.types import Task

PROMPT = '''def running_maximum(numbers):
    """ From a given list of integers, generate a list of rolling maximum element found until given moment
    in the sequence, as the elements arrive one after the other. """
'''
BODY = """    best, found = None, []
    for n in numbers:
        best = n if best is None else max(best, n)
        found.append(best)
    return found
"""
EVALUATION = Task("eval/1", PROMPT, entry_point="running_maximum", reference=BODY)
CLEAN = Task("train/clean", 'def f(a):\n    """Say whether a is odd."""\n', reference="    return a % 2 == 1\n")


def kinds(task: Task, evaluation: Task = EVALUATION) -> set[str]:
    return {found.kind for found in overlap([task], [evaluation]).overlaps}


def test_a_planted_copy_is_found_and_removed():
    copy = dataclasses.replace(EVALUATION, task_id="train/copy")
    kept, report = remove_overlap([CLEAN, copy], [EVALUATION])
    assert kept == [CLEAN]
    assert report.counts == {"prompt": 1, "program": 1, "signature": 1, "words": 1, "composition": 0}
    assert report.contaminated == {"train/copy"}


def test_a_copy_with_other_layout_is_the_same_prompt():
    copy = dataclasses.replace(EVALUATION, prompt=PROMPT.replace("\n    in", " in"), reference=None)
    assert "prompt" in kinds(copy)


def test_a_renamed_and_reworded_copy_is_found_by_its_program():
    program = BODY.replace("best", "top").replace("found", "out").replace("numbers", "items").replace("for n", "for i")
    program = program.replace("= n if", "= i if").replace("(top, n)", "(top, i)")
    copy = Task("train/renamed", 'def peaks(items):\n    """Peaks."""\n', entry_point="peaks", reference=program)
    assert kinds(copy) == {"program"}


def test_a_program_that_differs_is_not_the_same():
    other = dataclasses.replace(
        EVALUATION, task_id="t", prompt="def g(numbers):\n", reference=BODY.replace("max", "min")
    )
    assert kinds(other) == set()


def test_a_shared_run_of_words_in_another_text_is_found():
    text = "# Warm-up. Generate a list of rolling maximum element found until given moment in the sequence, quickly!\n"
    assert kinds(Task("train/words", text)) == {"words"}


def test_twelve_shared_words_are_not_enough():
    text = "# generate a list of rolling maximum element found until given moment in\n"
    assert kinds(Task("train/words", text)) == set()


def test_a_short_evaluation_prompt_is_compared_with_all_its_words():
    short = Task("eval/short", "Write a function that reverses the given string.")
    inside = Task("t", "Task 7: write a function that reverses the given string. Then print it.")
    assert kinds(inside, short) == {"words"}


def test_very_short_prompts_match_only_as_a_whole():
    short = Task("eval/short", "Reverse a string.")
    assert kinds(Task("t", "Reverse a string. Then sort it."), short) == set()
    assert kinds(Task("t", "Reverse  a string."), short) == {"prompt"}


def test_clean_tasks_are_kept_in_order():
    clean = [dataclasses.replace(CLEAN, task_id=f"c{i}") for i in range(3)]
    kept, report = remove_overlap(clean, [EVALUATION])
    assert kept == clean
    assert report.overlaps == ()


def test_synthetic_splits_share_no_composition_and_no_program():
    training, evaluation = load_tasks("synthetic:train", 400), load_tasks("synthetic:test", 200)
    report = overlap(training, evaluation)
    assert report.compositions[2] == 0
    assert report.overlaps == ()
    assert "0 in both" in report.summary()


def test_a_synthetic_task_with_other_constants_is_found_by_its_composition():
    task = load_tasks("synthetic:test", 1)[0]
    other = dataclasses.replace(task, task_id="t", prompt=task.prompt.replace("5", "4"), reference=None)
    assert "composition" in kinds(other, task)


def test_other_languages_are_compared_without_comments_and_layout():
    first = Task("a", "int f(int x) {\n", language="cpp", reference="  return x; // same\n}\n")
    second = Task("b", "// another\nint f(int x) {", language="cpp", reference="\n    // same\n    return x;\n}")
    first = dataclasses.replace(first, reference="  return x;\n}\n")
    assert normalized_program(first) == normalized_program(second) != ""


@pytest.mark.parametrize("task", [Task("a", "x"), Task("a", "x", reference="")])
def test_tasks_without_reference_have_no_program(task):
    assert normalized_program(task) == ""


@pytest.mark.parametrize(
    ("prompt", "reference", "name", "expected"),
    [
        ("def running_max(a_list, k=1, *, key):\n", "    pass\n", "running_max", "runningmax(alist, k, key)"),
        ("import x\n\ndef twoSum(nums: List[int], target: int) -> int:", None, "twoSum", "twosum(nums, target)"),
        ('"""Say."""\n', "class Solution:\n    def halve(self, n):\n        pass\n", "halve", "halve(n)"),
        ('"""Complete:\n\ndef halve(self, xs: Dict[int, str], n) -> int:\n"""\n', None, "halve", "halve(xs, n)"),
        ("def solve(xs):\n", "    pass\n", "solve", ""),
        ("def task_func(xs):\n", "    pass\n", "task_func", ""),
        ("Say.", None, "halve", ""),
        ("Say.", None, None, ""),
    ],
)
def test_signatures(prompt, reference, name, expected):
    assert signature(Task("a", prompt, entry_point=name, reference=reference)) == expected


def test_a_reworded_task_is_found_by_its_signature():
    prompt = 'def runningMaximum(numbers):\n    """ Peaks so far. """\n'
    other = Task("t", prompt, entry_point="runningMaximum", reference="    return sorted(numbers)\n")
    assert kinds(other) == {"signature"}
    assert kinds(dataclasses.replace(other, prompt=prompt.replace("numbers", "items"), reference=None)) == set()


def test_runs_that_many_training_tasks_share_do_not_count(monkeypatch):
    monkeypatch.setattr("rewardranker.tasks.decontamination.COMMON", (3, 0.01))
    phrase = "the first line of the input contains a single integer t the number of test cases that follow"
    evaluation = Task("e", f"Count the pairs of stones. {phrase}")
    training = [Task(f"t{i}", f"Story {i}. {phrase}") for i in range(4)]
    report = overlap(training, [evaluation])
    assert report.overlaps == ()
    assert len(report.common_runs) == 6  # of 13 words, in 18
    assert "did not count: 6" in report.summary()
    assert overlap(training[:3], [evaluation]).counts["words"] == 3
    copy = Task("copy", f"Count the pairs of stones. {phrase}")
    assert overlap([*training, copy], [evaluation]).contaminated == {"copy"}  # by a run that only it shares


def test_runs_of_numbers_do_not_count():
    numbers = " ".join(str(number) for number in range(1, 30))
    evaluation = Task("e", f"Sort the whole list. For example {numbers} stays.")
    assert kinds(Task("t", f"Find the mean of {numbers}."), evaluation) == set()
    assert kinds(Task("t", "Please sort the whole list. For example 1 2 3 4 5 6 7 8 9."), evaluation) == {"words"}


def test_the_report_as_json_holds_every_pair():
    copies = [dataclasses.replace(EVALUATION, task_id=f"c{i}") for i in range(7)]
    report = overlap([*copies, CLEAN], [EVALUATION])
    record = json.loads(json.dumps(report.to_record()))
    assert (record["training"], record["evaluation"], record["contaminated"]) == (8, 1, 7)
    assert record["counts"]["program"] == 7
    assert len(record["pairs"]) == 28
    assert record["pairs"][0] == {"training_id": "c0", "evaluation_id": "eval/1", "kind": "prompt"} | {
        "evidence": record["pairs"][0]["evidence"]
    }
    assert len(report.summary(None).splitlines()) == 1 + 28
