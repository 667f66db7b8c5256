"""The built-in task generator: small Python problems whose solutions are composed of a few constructs.

A problem is source x filter x map x reduction x post-processing with small constants, described in varied words. Whole
compositions are held out for validation and test, so a solver has to recombine what it has learnt. The corpus for
fine-tuning carries systematic bugs, as scraped code does.

Not guaranteed: that skill on these tasks says anything about real programs. They exist so that the whole loop can be
run, measured and understood within minutes on a CPU.
"""

from rewardranker.tasks.synthetic.composition import SPLITS, split_of
from rewardranker.tasks.synthetic.generate import SIZES, corpus, synthetic_tasks

__all__ = ["SIZES", "SPLITS", "corpus", "split_of", "synthetic_tasks"]
