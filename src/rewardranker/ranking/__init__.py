"""Task + Samples -> Ranking: the reranker and the baselines it has to beat."""

from rewardranker.ranking.agreement import b4_scores, codet_scores, max_pass_scores
from rewardranker.ranking.by_tests import B4, CodeT, MaxPass, TestOutcomes
from rewardranker.ranking.generated_tests import GeneratedTests, extract_calls, extract_tests
from rewardranker.ranking.lever import Lever, OutcomeReward, groups_with_outcomes, lever_scores, with_outcomes
from rewardranker.ranking.likelihood import CoderReviewer, Likelihood, LikelihoodScorer, Reviewer, reviewer_texts
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
from rewardranker.ranking.pruning import Pruned
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
from rewardranker.ranking.shown_tests import first_test, given_calls
from rewardranker.ranking.specs import Sources, check_spec, make_ranker, ranker_names
from rewardranker.ranking.weights import GRID, fit_weight, fit_weights

__all__ = [
    "B4",
    "GRID",
    "MBR",
    "Candidates",
    "CodeT",
    "CoderReviewer",
    "Cost",
    "First",
    "GeneratedTests",
    "Lever",
    "Likelihood",
    "LikelihoodScorer",
    "Majority",
    "MaxPass",
    "MeanLogProbability",
    "Oracle",
    "OutcomeReward",
    "OutputTable",
    "Precomputed",
    "ProgramOutputs",
    "Pruned",
    "Random",
    "Ranker",
    "Reviewer",
    "Reward",
    "SRank",
    "Shortest",
    "Sources",
    "SumLogProbability",
    "TestOutcomes",
    "Weighted",
    "b4_scores",
    "check_spec",
    "codet_scores",
    "extract_calls",
    "extract_tests",
    "first_test",
    "fit_weight",
    "fit_weights",
    "given_calls",
    "groups_with_outcomes",
    "lever_scores",
    "majority_scores",
    "make_ranker",
    "max_pass_scores",
    "mbr_scores",
    "ranker_names",
    "reviewer_texts",
    "srank_scores",
    "with_outcomes",
]
