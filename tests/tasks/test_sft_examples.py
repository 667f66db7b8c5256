"""What the generator is fine-tuned on."""

from __future__ import annotations

import pytest

from rewardranker.config import TaskOptions
from rewardranker.errors import DataError
from rewardranker.tasks import corpus, sft_examples
from rewardranker.types import Task


def test_synthetic_tasks_come_with_their_corpus() -> None:
    options = TaskOptions(corpus_size=20, bug_share=0.25, seed=3)
    assert sft_examples(options, []) == [(p, c, "python") for p, c, _ in corpus(20, 0.25, 3)]


def test_other_tasks_give_their_reference_solutions() -> None:
    tasks = [
        Task("a", "def a():", reference=" return 1"),
        Task("b", "def b():"),
        Task("c", "fn c() {", reference=" 1 }", language="rust"),
    ]
    assert sft_examples(TaskOptions(train="tasks.jsonl"), tasks) == [
        ("def a():", " return 1", "python"),
        ("fn c() {", " 1 }", "rust"),
    ]


def test_tasks_without_any_reference_are_refused() -> None:
    with pytest.raises(DataError, match=r"none of the 1 training tasks of 'tasks.jsonl' .* column 'reference'"):
        sft_examples(TaskOptions(train="tasks.jsonl"), [Task("b", "def b():")])
