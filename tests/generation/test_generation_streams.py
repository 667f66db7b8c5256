"""Random streams: uniform, independent, and a function of (seed, task, sample, step) alone."""

import numpy as np

from rewardranker.generation import random_streams


def test_streams_are_uniform_and_uncorrelated():
    numbers = random_streams(0, [f"t{i}" for i in range(4000)], [1] * 4000, 16).astype(np.float64)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=64, range=(0, 1))[0]
    expected = numbers.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 5 * np.sqrt(2 * 63)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(16)).max() < 5 / np.sqrt(4000)  # between steps
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 5 / np.sqrt(numbers.size)  # rows


def test_a_longer_stream_begins_with_the_shorter_one():
    assert (random_streams(3, ["a", "b"], [0, 1], 100)[:, :7] == random_streams(3, ["a", "b"], [0, 1], 7)).all()


def test_each_of_seed_task_and_sample_changes_the_stream():
    cases = [(0, "t1", 0), (1, "t1", 0), (0, "t1", 1), (0, "t2", 0), (0, "1\0t1", 0), (0, "t1", 10), (-1, "t1", 0)]
    streams = {random_streams(seed, [task], [sample], 8).tobytes() for seed, task, sample in cases}
    assert len(streams) == len(cases)


def test_streams_stay_what_they_were():
    """Published samples must be drawable again: a change here is a change of every recorded run."""
    assert random_streams(0, ["HumanEval/0"], [0], 3).tolist() == PUBLISHED


PUBLISHED = [[0.10666149854660034, 0.2042800784111023, 0.6005588173866272]]
