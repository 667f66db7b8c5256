"""Task + Samples -> Ranking: the reranker and the baselines it has to beat."""

from rewardranker.ranking.agreement import b4_scores, codet_scores, max_pass_scores
from rewardranker.ranking.by_tests import B4, CodeT, MaxPass, TestOutcomes
from rewardranker.ranking.generated_tests import GeneratedTests, extract_calls, extract_tests
from rewardranker.ranking.outputs import (
    MBR,
    Majority,
    OutputTable,
    ProgramOutputs,
    SRank,
    majority_scores,
    mbr_scores,
    srank_scores,
)
from rewardranker.ranking.protocol import Candidates, Cost, Ranker
from rewardranker.ranking.rankers import (
    First,
    MeanLogProbability,
    Oracle,
    Precomputed,
    Random,
    Reward,
    Shortest,
    SumLogProbability,
    Weighted,
)
from rewardranker.ranking.weights import GRID, fit_weight

__all__ = [
    "B4",
    "GRID",
    "MBR",
    "Candidates",
    "CodeT",
    "Cost",
    "First",
    "GeneratedTests",
    "Majority",
    "MaxPass",
    "MeanLogProbability",
    "Oracle",
    "OutputTable",
    "Precomputed",
    "ProgramOutputs",
    "Random",
    "Ranker",
    "Reward",
    "SRank",
    "Shortest",
    "SumLogProbability",
    "TestOutcomes",
    "Weighted",
    "b4_scores",
    "codet_scores",
    "extract_calls",
    "extract_tests",
    "fit_weight",
    "majority_scores",
    "max_pass_scores",
    "mbr_scores",
    "srank_scores",
]
