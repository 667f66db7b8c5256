"""How long the figures of 1,000 tasks x 200 samples take: `python benchmarks/figures.py [--tasks T] [--samples N]`.

Scores are made up: rankers from good to useless, some with many ties, some with infinite scores. What is timed is what
`rewardranker eval` computes once files are read and rankers have run: curves for n = 1, 2, 4, ... N of every ranker
with intervals, paired differences, order, calibration, and figures by language, source and difficulty.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time

import numpy as np
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation import MEAN, Ranked, evaluate
from rewardranker.types import Ranking, Sample, Task, Verdict

LANGUAGES = ("python", "cpp", "java", "php", "typescript", "csharp", "bash", "javascript")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--rankers", type=int, default=8)
    parser.add_argument("--bootstrap", type=int, default=2000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (arguments.tasks, arguments.samples)
    passed = rng.random(shape) < rng.beta(0.6, 1.0, (arguments.tasks, 1))
    tasks = [
        Task(f"t{i}", "", LANGUAGES[i % 8], metadata={"source": f"s{i % 3}", "difficulty": f"d{i % 5}"})
        for i in range(arguments.tasks)
    ]
    samples = [
        Sample(task.task_id, k, "", "", "", token_ids=(0,) * 5) for task in tasks for k in range(arguments.samples)
    ]
    verdicts = [
        Verdict(task.task_id, k, ok, "passed" if ok else "wrong answer")
        for task, row in zip(tasks, passed.tolist(), strict=True)
        for k, ok in enumerate(row)
    ]
    ranked = [made_up(number, tasks, passed, rng) for number in range(arguments.rankers)]
    options = EvaluationOptions(n=min(100, arguments.samples), bootstrap=arguments.bootstrap)
    start, cpu = time.perf_counter(), time.process_time()
    found = evaluate(tasks, samples, verdicts, ranked, options, baselines=(MEAN, ranked[0].name))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{arguments.tasks} tasks x {arguments.samples} samples, {arguments.rankers} rankers, n = "
        f"{', '.join(map(str, found.ns))}, {arguments.bootstrap} resamples: {seconds:.1f} s "
        f"({cpu:.1f} s of processor), peak {peak:.0f} MB "
        f"({platform.machine()}, Python {platform.python_version()}, numpy {np.__version__})"
    )
    counts = (len(found.rows), len(found.differences), sum(len(group.groups) for group in found.breakdowns))
    print("{} rows with intervals, {} paired differences, {} groups of tasks".format(*counts))


def made_up(number: int, tasks: list[Task], passed: NDArray[np.bool_], rng: np.random.Generator) -> Ranked:
    """Rankings that know the truth less and less; every third rounded to ties, every fourth with minus infinities."""
    scores = passed + rng.normal(scale=0.2 + number, size=passed.shape)
    if number % 3 == 2:
        scores = np.round(scores)
    if number % 4 == 3:
        scores[scores < np.quantile(scores, 0.1)] = -np.inf
    name, ids = f"ranker {number}", tuple(range(passed.shape[1]))
    rows = zip(tasks, scores.tolist(), strict=True)
    return Ranked(name, [Ranking(task.task_id, name, ids, tuple(row)) for task, row in rows])


if __name__ == "__main__":
    main()
