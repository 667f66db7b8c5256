"""Rankings + Verdicts -> figures with intervals: pass@k, best-of-n, paired comparisons."""

from rewardranker.evaluation.collect import Outcomes, collect, score_matrix
from rewardranker.evaluation.evaluate import Evaluation, Row, evaluate, powers
from rewardranker.evaluation.figures import (
    PairwiseAccuracy,
    auc,
    best_of_curve,
    best_of_n,
    distinct_per_n,
    hard_negatives,
    mean_pass,
    pairwise_accuracy,
    pass_at_k,
    reciprocal_rank,
)
from rewardranker.evaluation.intervals import Difference, Interval, bootstrap_interval, paired_difference

__all__ = [
    "Difference",
    "Evaluation",
    "Interval",
    "Outcomes",
    "PairwiseAccuracy",
    "Row",
    "auc",
    "best_of_curve",
    "best_of_n",
    "bootstrap_interval",
    "collect",
    "distinct_per_n",
    "evaluate",
    "hard_negatives",
    "mean_pass",
    "paired_difference",
    "pairwise_accuracy",
    "pass_at_k",
    "powers",
    "reciprocal_rank",
    "score_matrix",
]
