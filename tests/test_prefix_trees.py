"""Trees of token sequences: every sequence is one path, and a shared beginning stands once."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rewardranker.prefix_trees import joined, split, tree

SEQUENCES = [[1, 2, 3], [1, 2], [1, 2, 4, 5], [9], [1, 2, 3], [1, 7], []]


def random_sequences(seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3) for _ in range(draw.randrange(9))] for _ in range(draw.randrange(1, 30))]


@pytest.mark.parametrize("sequences", [SEQUENCES, *map(random_sequences, range(20))])
def test_a_path_spells_its_sequence_and_reads_that_and_nothing_else(sequences: list[list[int]]) -> None:
    found = tree(sequences)
    for sequence, path in zip(sequences, found.paths, strict=True):
        assert found.tokens[path].tolist() == sequence
        assert found.depths[path].tolist() == list(range(len(sequence)))
        for place, node in enumerate(path):
            reads = np.flatnonzero((np.arange(len(found.last)) <= node) & (node <= found.last))
            assert reads.tolist() == path[: place + 1].tolist()


@pytest.mark.parametrize("sequences", [SEQUENCES, *map(random_sequences, range(20))])
def test_there_are_as_many_nodes_as_different_beginnings(sequences: list[list[int]]) -> None:
    beginnings = {tuple(sequence[:length]) for sequence in sequences for length in range(1, len(sequence) + 1)}
    assert len(tree(sequences).tokens) == len(beginnings)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most", [1, 5, 12, 1000])
def test_parts_hold_every_sequence_once_and_stay_below_their_bound(most: int, seed: int) -> None:
    sequences = random_sequences(seed)
    parts = split(sequences, 7, most)
    assert sorted(index for part in parts for index in part) == list(range(len(sequences)))
    for part in parts:
        nodes = len(tree([sequences[index] for index in part]).tokens)
        assert nodes <= most or nodes == max(len(sequences[index]) for index in part)


def test_parts_are_of_like_size() -> None:
    sequences = [[first, *range(9)] for first in range(12)]
    assert [len(part) for part in split(sequences, 50, 1000)] == [4, 4, 4]
    assert [len(part) for part in split([[7] * 90 + row for row in sequences], 50, 1000, first=90)] == [4, 4, 4]


def test_trees_side_by_side_do_not_read_each_other() -> None:
    groups = [[[1, 2], [1, 3]], [[1, 2], [4]]]
    found = joined([tree(group) for group in groups])
    for sequence, path in zip([*groups[0], *groups[1]], found.paths, strict=True):
        assert found.tokens[path].tolist() == sequence
        reads = np.flatnonzero((np.arange(len(found.last)) <= path[-1]) & (path[-1] <= found.last))
        assert reads.tolist() == path.tolist()
