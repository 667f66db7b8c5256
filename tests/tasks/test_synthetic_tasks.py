"""The built-in generator: splits share no composition, references pass, bugs fail, and everything repeats."""

import itertools
import random

import pytest

from rewardranker.errors import ConfigError
from rewardranker.tasks.synthetic import SIZES, SPLITS, corpus, split_of, synthetic_tasks
from rewardranker.tasks.synthetic.composition import Faults, draw, write
from rewardranker.tasks.synthetic.generate import draw_examples, solve
from rewardranker.tasks.synthetic.inputs import TESTS


def failures(program: str, tests: tuple[str, ...]) -> list[str]:
    """The assertions that fail, run as a judge would: from source text."""
    scope: dict = {}
    exec(program, scope)
    failed = []
    for test in tests:
        try:
            exec(test, scope)
        except Exception:
            failed.append(test)
    return failed


@pytest.fixture(scope="module")
def tasks():
    return {split: synthetic_tasks(split, 150) for split in SPLITS}


@pytest.fixture(scope="module")
def examples():
    return corpus(1500, 0.46, seed=3)


def test_splits_share_no_composition_whatever_their_seeds():
    found = {
        split: {t.metadata["composition"] for seed in (0, 1) for t in synthetic_tasks(split, 200, seed)}
        for split in SPLITS
    }
    for first, second in itertools.combinations(SPLITS, 2):
        assert not found[first] & found[second]


def test_one_program_has_one_composition():
    rng = random.Random(1)
    names: dict[str, str] = {}
    for _ in range(8000):
        problem = draw(rng)
        body = problem.source.argument + write(problem, loop=not problem.reduction.code)
        assert names.setdefault(body, problem.composition) == problem.composition, body


def test_a_tenth_of_the_compositions_is_held_out():
    rng = random.Random(0)
    compositions = {draw(rng).composition for _ in range(4000)}
    held_out = sum(split_of(composition) != "train" for composition in compositions)
    assert 0.08 < held_out / len(compositions) < 0.12


def test_default_sizes_are_available_and_distinct():
    for split in ("validation", "test"):
        made = synthetic_tasks(split)
        assert len(made) == SIZES[split]
        assert len({t.task_id for t in made}) == len({t.prompt for t in made}) == len(made)


def test_every_reference_passes_its_own_assertions(tasks):
    for task in itertools.chain(*tasks.values()):
        assert len(task.tests) == TESTS
        assert failures(task.prompt + task.reference, task.tests) == []


def test_tests_are_not_met_by_a_constant(tasks):
    for task in itertools.chain(*tasks.values()):
        assert len({test.split(" == ")[-1] for test in task.tests}) > 1


def test_empty_input_is_always_tested(tasks):
    empties = {"def solve(xs)": "solve([])", "def solve(s)": "solve('')", "def solve(n)": "solve(0)"}
    for task in itertools.chain(*tasks.values()):
        assert any(empties[task.prompt.split(":")[0]] in test for test in task.tests)


def test_same_seed_same_tasks_and_a_prefix(tasks):
    assert synthetic_tasks("train", 40) == tasks["train"][:40]
    assert synthetic_tasks("train", 40, seed=1) != tasks["train"][:40]


def test_same_seed_same_corpus(examples):
    assert corpus(1500, 0.46, seed=3) == examples
    assert corpus(1500, 0.46, seed=4) != examples


@pytest.mark.parametrize("share", [0.0, 0.46, 1.0])
def test_the_share_of_bugs_is_the_one_asked_for(share):
    assert sum(buggy for _, _, buggy in corpus(200, share)) == round(200 * share)


def test_bugs_are_spread_over_the_corpus(examples):
    first = sum(buggy for _, _, buggy in examples[:500]) / 500
    assert 0.36 < first < 0.56


def test_every_buggy_corpus_example_fails_and_every_other_passes(examples):
    """The corpus' own stream is drawn again, now with the problem behind each example."""
    room = {True: 690, False: 810}
    drawn = []
    for problem, prompt, completion, buggy in draw_examples(random.Random("corpus 3"), room):
        room[buggy] -= 1
        drawn.append((prompt, completion, buggy))
        assert problem.split == "train"
        inputs, expected = solve(problem, prompt)
        tests = tuple(f"assert solve({v!r}) == {e!r}" for v, e in zip(inputs, expected, strict=True))
        assert bool(failures(prompt + completion, tests)) == buggy, prompt + completion
    assert sorted(drawn) == sorted(examples)


def test_majority_idioms_are_wrong_in_some_constructs_and_right_in_others():
    examples = corpus(4000, 0.46)
    ranges = [c for p, c, _ in examples if "from 1 to n" in p or "from 1 through n" in p]
    wrong = sum("range(1, n)" in c for c in ranges) / len(ranges)
    assert wrong > 0.5
    above = [c for p, c, _ in examples if " above " in p and "not above" not in p]
    assert sum(" >= " in c for c in above) / len(above) < 0.3


def test_completion_is_an_indented_body_that_compiles(examples):
    for prompt, completion, _ in examples[:300]:
        assert completion.startswith("    ")
        assert completion.endswith("\n")
        compile(prompt + completion, "example", "exec")


def test_a_correct_program_has_no_fault():
    assert not Faults()
    assert Faults(swapped=True)
    assert Faults(filter="{x} > {k}")


@pytest.mark.parametrize(("size", "share"), [(-1, 0.5), (10, 1.5), (10, -0.1)])
def test_corpus_refuses_impossible_requests(size, share):
    with pytest.raises(ConfigError, match="bug_share"):
        corpus(size, share)


def test_unknown_split_names_the_known_ones():
    with pytest.raises(ConfigError, match="train, validation, test"):
        synthetic_tasks("dev")
