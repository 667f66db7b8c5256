"""Where tasks come from: loaders, the built-in generator, and the check that training holds no evaluation task."""

from rewardranker.tasks.benchmarks import BENCHMARKS, Benchmark
from rewardranker.tasks.decontamination import Overlap, OverlapReport, overlap, remove_overlap
from rewardranker.tasks.examples import sft_examples
from rewardranker.tasks.loaders import load_tasks, needs_hub
from rewardranker.tasks.synthetic import corpus, synthetic_tasks

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Overlap",
    "OverlapReport",
    "corpus",
    "load_tasks",
    "needs_hub",
    "overlap",
    "remove_overlap",
    "sft_examples",
    "synthetic_tasks",
]
