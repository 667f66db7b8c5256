"""Each ranker's order, and what it refuses."""

import numpy as np
import pytest

from rewardranker.errors import DataError, ModelError
from rewardranker.ranking import (
    First,
    MeanLogProbability,
    Oracle,
    Precomputed,
    Random,
    Ranker,
    Reward,
    Shortest,
    SumLogProbability,
    Weighted,
)
from rewardranker.types import Sample, Task, Verdict

TASKS = [Task("a", "def a():\n"), Task("b", "def b():\n")]


def sample(task: str, number: int, completion: str, *logprobs: float) -> Sample:
    return Sample(task, number, completion, completion, completion, tuple(range(len(logprobs))), logprobs)


CANDIDATES = [
    (
        TASKS[0],
        [sample("a", 0, "long one", -1.0, -1.0, -1.0), sample("a", 1, "short", -2.0), sample("a", 2, "long one", -0.5)],
    ),
    (TASKS[1], [sample("b", 7, "x", -1.0, -2.0), sample("b", 3, "long one", -0.1, -0.1)]),
]


def scores(ranker: Ranker) -> list[list[float]]:
    return [list(ranking.scores) for ranking in ranker.rank(CANDIDATES)]


class LengthScorer:
    """A scorer that counts its calls and the pairs it saw."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, str]]] = []

    def predict(self, pairs):  # type: ignore[no-untyped-def]
        self.calls.append(list(pairs))
        return np.array([len(p) * 100 + len(c) for p, c in pairs], np.float32)


@pytest.mark.parametrize(
    ("ranker", "expected"),
    [
        (Random(), [[0.0, 0.0, 0.0], [0.0, 0.0]]),
        (First(), [[0.0, -1.0, -2.0], [0.0, -1.0]]),
        (Shortest(), [[-8.0, -5.0, -8.0], [-1.0, -8.0]]),
        (MeanLogProbability(), [[-1.0, -2.0, -0.5], [-1.5, -0.1]]),
        (SumLogProbability(), [[-3.0, -2.0, -0.5], [-3.0, -0.2]]),
    ],
)
def test_scores_by_hand(ranker: Ranker, expected: list[list[float]]) -> None:
    assert scores(ranker) == expected


def test_rankings_name_their_samples() -> None:
    rankings = First().rank(CANDIDATES)
    assert [(r.task_id, r.ranker, r.sample_ids) for r in rankings] == [
        ("a", "first", (0, 1, 2)),
        ("b", "first", (7, 3)),
    ]


def test_a_sample_without_tokens_is_last_under_both_likelihoods() -> None:
    candidates = [(TASKS[0], [sample("a", 0, ""), sample("a", 1, "x", -9.0)])]
    for ranker in (MeanLogProbability(), SumLogProbability()):
        assert ranker.rank(candidates)[0].scores == (-np.inf, -9.0)


def test_likelihood_without_any_log_probabilities_is_refused() -> None:
    candidates = [(TASKS[0], [sample("a", 0, "x"), sample("a", 1, "y")])]
    with pytest.raises(DataError, match="'sum_logprob' needs token log-probabilities and none of 2 samples"):
        SumLogProbability().rank(candidates)


def test_the_oracle_knows_the_verdicts_and_refuses_to_guess() -> None:
    verdicts = [Verdict("a", k, k == 1, "") for k in range(3)] + [Verdict("b", 7, True, "")]
    with pytest.raises(DataError, match=r"1 samples have no score of 'oracle'.*'b' sample 3"):
        Oracle(verdicts).rank(CANDIDATES)
    verdicts.append(Verdict("b", 3, False, ""))
    assert scores(Oracle(verdicts)) == [[0.0, 1.0, 0.0], [1.0, 0.0]]


def test_the_reward_model_is_called_once_and_equal_completions_are_scored_once() -> None:
    scorer = LengthScorer()
    assert scores(Reward(scorer)) == [[908.0, 905.0, 908.0], [901.0, 908.0]]
    assert len(scorer.calls) == 1
    assert len(scorer.calls[0]) == 4  # "long one" twice in a, once more in b, whose prompt is another


def test_a_broken_scorer_is_named() -> None:
    class Nan:
        def predict(self, pairs):  # type: ignore[no-untyped-def]
            return np.full(len(pairs), np.nan, np.float32)

    class Short:
        def predict(self, pairs):  # type: ignore[no-untyped-def]
            return np.zeros(len(pairs) - 1, np.float32)

    with pytest.raises(ModelError, match="'mine' gave NaN"):
        Reward(Nan(), "mine").rank(CANDIDATES)
    with pytest.raises(ModelError, match=r"shape \(3,\) for 4 pairs"):
        Reward(Short()).rank(CANDIDATES)


def test_a_weighted_sum_adds_raw_scores() -> None:
    ranker = Weighted({Shortest(): 1.0, SumLogProbability(): 1.5})
    assert scores(ranker)[0] == [-8 - 4.5, -5 - 3.0, -8 - 0.75]
    assert ranker.name == "shortest + 1.5*sum_logprob"


def test_standardised_parts_weigh_the_same_whatever_their_scale() -> None:
    big = Precomputed("big", {(t.task_id, s.sample_id): 1e6 * s.logprob for t, group in CANDIDATES for s in group})
    one = scores(Weighted({Shortest(): 1.0, SumLogProbability(): 1.0}, standardise=True))
    other = scores(Weighted({Shortest(): 1.0, big: 1.0}, standardise=True))
    np.testing.assert_allclose(one[0], other[0])
    assert np.mean(one[0]) == pytest.approx(0)
    shifted = scores(Weighted({Random(): 3.0, Shortest(): 1.0}, standardise=True))
    np.testing.assert_allclose(shifted[0], [-(0.5**0.5), 2**0.5, -(0.5**0.5)])  # equal scores add nothing


def test_weight_zero_leaves_a_ranker_out_even_where_it_is_infinite() -> None:
    low = Precomputed("low", {(t.task_id, s.sample_id): -np.inf for t, group in CANDIDATES for s in group})
    assert scores(Weighted({First(): 1.0, low: 0.0})) == scores(First())
    with pytest.raises(DataError, match="NaN"):
        Weighted({low: 1.0, Weighted({low: -1.0}): 1.0}).rank(CANDIDATES)
    with pytest.raises(ValueError, match="other than 0"):
        Weighted({First(): 0.0})
