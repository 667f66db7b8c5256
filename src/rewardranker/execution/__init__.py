"""Task + Sample -> Verdict: programs are run against tests that they never see."""

from rewardranker.execution.judge import IsolationWarning, ProgramJudge, judge, pair
from rewardranker.execution.opening import open_judge
from rewardranker.execution.records import judge_rows_to_file, judge_to_file
from rewardranker.execution.status import STATUS_MEANINGS, STATUSES

__all__ = [
    "STATUSES",
    "STATUS_MEANINGS",
    "IsolationWarning",
    "ProgramJudge",
    "judge",
    "judge_rows_to_file",
    "judge_to_file",
    "open_judge",
    "pair",
]
