"""Rankers by a model's likelihood: what the model is asked, and how its figures become scores."""

from collections.abc import Sequence

import numpy as np
import pytest

from rewardranker.errors import ModelError
from rewardranker.ranking import CoderReviewer, Likelihood, Reviewer, reviewer_texts
from rewardranker.types import Sample, Task

PROMPT = 'import math\n\n\ndef f(a):\n    """Double a.\n\n    >>> f(1)\n    2\n    """\n'
TASK = Task("t", PROMPT)
SAMPLES = [Sample("t", n, "", text, "") for n, text in enumerate(["    return 2 * a\n", "    pass\n", "    pass\n"])]
REQUEST = "# Write a docstring for the above function\n"


class LengthModel:
    """A word costs as much as it is long; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        self.asked += pairs
        words = [continuation.split() for _, continuation in pairs]
        sums = [-float(len(context) + sum(map(len, found))) for (context, _), found in zip(pairs, words, strict=True)]
        return np.array(sums), np.array([len(found) for found in words])


def test_the_reviewer_reads_the_program_without_its_docstring() -> None:
    context, continuation = reviewer_texts(PROMPT, "    return 2 * a\n")
    assert context == f"import math\n\n\ndef f(a):\n    return 2 * a\n\n{REQUEST}"
    assert continuation == '"""Double a.\n\n    >>> f(1)\n    2\n    """\n'


def test_a_body_without_indentation_is_put_into_the_function() -> None:
    assert "def f(a):\n    return 2 * a\n" in reviewer_texts(PROMPT, "return 2 * a\n")[0]


@pytest.mark.parametrize("prompt", ["Write a function that doubles.", "def f(a):\n", "int f(int a) {\n"])
def test_a_prompt_without_docstring_is_scored_whole(prompt: str) -> None:
    assert reviewer_texts(prompt, "body\n") == ("body\n\n", prompt)


def test_scores_are_sums_or_means() -> None:
    scores = Likelihood(LengthModel()).rank([(TASK, SAMPLES)])[0].scores
    assert scores == (-len(PROMPT) - 9.0, -len(PROMPT) - 4.0, -len(PROMPT) - 4.0)
    means = Likelihood(LengthModel(), mean=True).rank([(TASK, SAMPLES)])[0].scores
    assert means == pytest.approx((scores[0] / 4, scores[1], scores[2]))


def test_coder_reviewer_is_the_sum_of_both() -> None:
    model = LengthModel()
    both = CoderReviewer(model).rank([(TASK, SAMPLES)])[0].scores
    coder = Likelihood(model).rank([(TASK, SAMPLES)])[0].scores
    reviewer = Reviewer(model).rank([(TASK, SAMPLES)])[0].scores
    assert both == pytest.approx(np.add(coder, reviewer))
    assert reviewer[0] != reviewer[1]


def test_equal_programs_are_asked_about_once() -> None:
    model = LengthModel()
    Likelihood(model).rank([(TASK, SAMPLES)])
    assert len(model.asked) == 2


def test_a_program_without_tokens_has_no_mean() -> None:
    empty = [*SAMPLES[:1], Sample("t", 9, "", "", "")]
    assert Likelihood(LengthModel(), mean=True).rank([(TASK, empty)])[0].scores[1] == -np.inf


def test_nan_is_refused() -> None:
    class Broken(LengthModel):
        def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
            return np.full(len(pairs), np.nan), np.ones(len(pairs), int)

    with pytest.raises(ModelError, match="2 of them NaN"):
        Likelihood(Broken()).rank([(TASK, SAMPLES)])
