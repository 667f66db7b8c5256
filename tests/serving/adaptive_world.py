"""A made-up world in which it is known when a further candidate pays: easy, middling and hard tasks."""

from __future__ import annotations

import numpy as np

from rewardranker.serving.calibration import Pool


def world(tasks: int = 60, samples: int = 24, seed: int = 0, fooled: bool = False) -> Pool:
    """Task after task easy (nearly all samples are one right program), middling (60 % are) and hard (10 %).

    Right programs score about 2, wrong ones about 0; `fooled`: one wrong one in five scores 5.
    """
    rng = np.random.default_rng(seed)
    kind = np.arange(tasks)[:, None] % 3
    passed = rng.random((tasks, samples)) < np.choose(kind, [0.95, 0.6, 0.1])
    programs = np.where(passed, 0, 1 + rng.integers(0, 40, passed.shape))
    quality = rng.normal(0, 0.3, (tasks, 41))  # equal programs have equal scores
    scores = np.take_along_axis(quality, programs, 1) + 2.0 * passed
    if fooled:
        cheats = ~passed & (rng.random(passed.shape) < 0.2)
        scores, programs = np.where(cheats, 5.0, scores), np.where(cheats, 41, programs)
    return Pool(scores, passed, programs, rng.integers(5, 30, passed.shape).astype(float))
