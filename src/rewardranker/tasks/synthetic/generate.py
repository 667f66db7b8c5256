"""Tasks and the fine-tuning corpus, drawn from the compositions of a split.

Not guaranteed: that two problems with different constructs compute different functions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from rewardranker.errors import ConfigError
from rewardranker.tasks.synthetic.composition import NAME, SPLITS, Problem, describe, draw, draw_faults, write
from rewardranker.tasks.synthetic.inputs import Value, compiled, differs, make_inputs
from rewardranker.types import Task

SIZES = {"train": 8000, "validation": 600, "test": 2000}
"""Tasks that `synthetic_tasks` makes when no number is asked for."""


def synthetic_tasks(split: str, count: int | None = None, seed: int = 0) -> list[Task]:
    """The first `count` tasks of a split, all different. A smaller count gives a prefix of a larger one.

    The split of a composition never depends on the seed, so tasks of different splits share no composition whatever
    their seeds.

    Raises:
        ConfigError: no such split.
    """
    if split not in SPLITS:
        raise ConfigError(f"synthetic:{split}: no such split; known: {', '.join(SPLITS)}")
    count = SIZES[split] if count is None else count
    rng = random.Random(f"tasks {split} {seed}")
    seen: set[str] = set()
    tasks: list[Task] = []
    while len(tasks) < count:
        problem = draw(rng)
        if problem.split != split or problem.key in seen:
            continue
        seen.add(problem.key)
        prompt = describe(problem, rng)
        solved = solve(problem, prompt)
        if solved is None:
            continue
        inputs, expected = solved
        tasks.append(
            Task(
                task_id=f"synthetic/{split}/{seed}/{len(tasks)}",
                prompt=prompt,
                entry_point=NAME,
                tests=tuple(
                    f"assert {NAME}({value!r}) == {answer!r}" for value, answer in zip(inputs, expected, strict=True)
                ),
                reference=write(problem, loop=not problem.reduction.code),
                metadata={"source": "synthetic", "split": split, "composition": problem.composition},
            )
        )
    return tasks


def corpus(size: int, bug_share: float, seed: int = 0) -> list[tuple[str, str, bool]]:
    """(prompt, completion, is_buggy) examples for fine-tuning, from training compositions alone.

    Exactly `round(size * bug_share)` of them are buggy, in shuffled order: programs are drawn with each construct's own
    bug rates and kept while their kind is short. Every buggy program runs and fails a hidden test of its problem; one
    with a bug that changes no test's outcome is dropped.

    Raises:
        ConfigError: `bug_share` is outside [0, 1] or `size` is negative.
    """
    if size < 0 or not 0 <= bug_share <= 1:
        raise ConfigError(f"corpus: size must be at least 0 and bug_share in [0, 1] (got {size}, {bug_share})")
    rng = random.Random(f"corpus {seed}")
    buggy = round(size * bug_share)
    room = {True: buggy, False: size - buggy}
    examples: list[tuple[str, str, bool]] = []
    for _, prompt, completion, is_buggy in draw_examples(rng, room):
        examples.append((prompt, completion, is_buggy))
        room[is_buggy] -= 1
    rng.shuffle(examples)
    return examples


def draw_examples(rng: random.Random, room: Mapping[bool, int]) -> Iterator[tuple[Problem, str, str, bool]]:
    """Draw (problem, prompt, completion, is_buggy) while there is room for buggy or for correct programs."""
    while room[True] or room[False]:
        problem = draw(rng)
        if problem.split != "train":
            continue
        loop = rng.random() < problem.reduction.loop_share
        faults = draw_faults(problem, loop, rng)
        if not room[bool(faults)]:
            continue
        prompt = describe(problem, rng)
        completion = write(problem, faults, loop)
        solved = solve(problem, prompt)
        if solved is None or (faults and not differs(prompt + completion, *solved)):
            continue
        yield problem, prompt, completion, bool(faults)


def solve(problem: Problem, prompt: str) -> tuple[list[Value], list[Value]] | None:
    """The hidden tests' inputs and the reference's answers.

    None when the answers hardly vary, as for digits greater than 9: such a problem can't tell right from wrong.
    """
    function = compiled(prompt + write(problem, loop=not problem.reduction.code))
    inputs = make_inputs(problem)
    expected = [function(value) for value in inputs]
    varied = len({repr(answer) for answer in expected})
    return (inputs, expected) if varied >= (2 if problem.post.gives == "bool" else 4) else None
