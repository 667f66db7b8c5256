"""Figures -> a table for the terminal and one HTML page that a person looks at.

No figure is computed here: every number comes from `evaluation.json`, the PPO metrics and the manifest of a run, but
for the ranks of single programs, which follow from their scores.
matplotlib and jinja2 are imported when a page is written.
"""

from rewardranker.report.ablations import ablation_table
from rewardranker.report.content import read_figures
from rewardranker.report.figures import Evaluation, parse_figures
from rewardranker.report.page import save_plots, write_report
from rewardranker.report.table import terminal_table

__all__ = [
    "Evaluation",
    "ablation_table",
    "parse_figures",
    "read_figures",
    "save_plots",
    "terminal_table",
    "write_report",
]
