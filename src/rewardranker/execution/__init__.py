"""Task + Sample -> Verdict: programs are run against tests that they never see."""

from rewardranker.execution.judge import PythonJudge, judge, pair
from rewardranker.execution.records import judge_to_file
from rewardranker.execution.status import STATUS_MEANINGS, STATUSES

__all__ = ["STATUSES", "STATUS_MEANINGS", "PythonJudge", "judge", "judge_to_file", "pair"]
