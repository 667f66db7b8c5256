"""Rankings + Verdicts -> figures with intervals: pass@k, best-of-n, order, calibration, cost, paired comparisons.

What happens to bad input is one table, in `collect.py`; the keys of `evaluation.json` are the fields in `records.py`.
"""

from rewardranker.evaluation.calibration import (
    Calibration,
    CalibrationBin,
    PlattCurve,
    calibrate,
    calibrate_table,
    fit_platt,
)
from rewardranker.evaluation.collect import Outcomes, arrange, collect, score_vector
from rewardranker.evaluation.compare import against, difference_between
from rewardranker.evaluation.curves import Ranked, Ranks, run_ranker
from rewardranker.evaluation.evaluate import evaluate, powers
from rewardranker.evaluation.figures import (
    PairwiseAccuracy,
    auc,
    best_of_curve,
    best_of_n,
    distinct_per_n,
    hard_negatives,
    mean_pass,
    pairwise_accuracy,
    pairwise_wins,
    pass_at_k,
    reciprocal_rank,
)
from rewardranker.evaluation.files import of_samples, read_all, read_rankings, write_rankings
from rewardranker.evaluation.intervals import (
    Bootstrap,
    Difference,
    Interval,
    bootstrap_interval,
    holm,
    paired_difference,
    paired_differences,
)
from rewardranker.evaluation.records import (
    GREEDY,
    MEAN,
    ORACLE,
    Evaluation,
    Row,
    read_evaluation,
    write_evaluation,
)

__all__ = [
    "GREEDY",
    "MEAN",
    "ORACLE",
    "Bootstrap",
    "Calibration",
    "CalibrationBin",
    "Difference",
    "Evaluation",
    "Interval",
    "Outcomes",
    "PairwiseAccuracy",
    "PlattCurve",
    "Ranked",
    "Ranks",
    "Row",
    "against",
    "arrange",
    "auc",
    "best_of_curve",
    "best_of_n",
    "bootstrap_interval",
    "calibrate",
    "calibrate_table",
    "collect",
    "difference_between",
    "distinct_per_n",
    "evaluate",
    "fit_platt",
    "hard_negatives",
    "holm",
    "mean_pass",
    "of_samples",
    "paired_difference",
    "paired_differences",
    "pairwise_accuracy",
    "pairwise_wins",
    "pass_at_k",
    "powers",
    "read_all",
    "read_evaluation",
    "read_rankings",
    "reciprocal_rank",
    "run_ranker",
    "score_vector",
    "write_evaluation",
    "write_rankings",
]
