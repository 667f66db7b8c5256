"""Task + Samples -> Ranking: the reranker and the baselines it has to beat."""

from rewardranker.ranking.rankers import (
    Candidates,
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
from rewardranker.ranking.weights import GRID, fit_weight

__all__ = [
    "GRID",
    "Candidates",
    "First",
    "MeanLogProbability",
    "Oracle",
    "Precomputed",
    "Random",
    "Ranker",
    "Reward",
    "Shortest",
    "SumLogProbability",
    "Weighted",
    "fit_weight",
]
