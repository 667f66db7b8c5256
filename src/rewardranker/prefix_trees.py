"""Token sequences as trees: a beginning that several sequences share stands once.

A tree is stored depth first as one sequence, so the descendants of a node are the nodes right behind it, and node q may
read node k exactly when `k <= q <= last[k]`. That is causal attention within each of the sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Tokens = Sequence[int]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tree:
    """Sequences that share their beginnings, packed depth first."""

    tokens: Integers
    depths: Integers
    """Where each node stands in its sequences, from 0."""
    last: Integers
    """The last descendant of each node, itself where it has none."""
    paths: tuple[Integers, ...]
    """The nodes of each sequence, in the order that the sequences were given in."""


def common_beginning(one: Integers, other: Integers) -> int:
    """How many first tokens two sequences share."""
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length


def split(sequences: Sequence[Tokens], aim: int, most: int, first: int = 0) -> list[list[int]]:
    """Divide sequences into parts whose trees are of like size.

    Args:
        sequences: the sequences; those that share a beginning come into the same part as far as it holds them.
        aim: nodes of a part beside the `first`, on average at most.
        most: no part has more nodes; a longer sequence is a part alone.
        first: leading tokens that all sequences share and that every part has to hold again.

    Returns:
        Indices of each part's sequences, in lexicographic order of the sequences.
    """
    order = sorted(range(len(sequences)), key=lambda index: tuple(sequences[index]))
    arrays = [np.asarray(sequences[index], dtype=np.int64) for index in order]
    new = [len(array) - common for array, common in zip(arrays, _shared_with_previous(arrays), strict=True)]
    total = sum(new) - first
    wanted = max(1, -(-total // aim))
    parts: list[list[int]] = []
    before, nodes, current = -first, 0, 0
    for index, array, own in zip(order, arrays, new, strict=True):
        # A sequence goes where its middle falls when the whole is cut into equal pieces.
        piece = min(wanted - 1, int(max(0.0, before + own / 2) * wanted / max(1, total)))
        before += own
        if parts and (nodes == 0 or own == 0 or (piece == current and nodes + own <= most)):
            parts[-1].append(index)
            nodes += own
        else:
            parts.append([index])
            nodes, current = len(array), piece
    return parts


def _shared_with_previous(arrays: Sequence[Integers]) -> list[int]:
    return [0, *(common_beginning(one, other) for one, other in pairwise(arrays))]


def tree(sequences: Sequence[Tokens]) -> Tree:
    """The tree of some sequences; equal ones have the same path."""
    tokens: list[Integers] = []
    depths: list[Integers] = []
    last = np.zeros(sum(map(len, sequences)), dtype=np.int64)
    paths: list[Integers] = [np.empty(0, np.int64)] * len(sequences)
    array, path, count = np.empty(0, np.int64), np.empty(0, np.int64), 0
    for index in sorted(range(len(sequences)), key=lambda index: tuple(sequences[index])):
        previous, array = array, np.asarray(sequences[index], dtype=np.int64)
        common = common_beginning(previous, array)
        last[path[common:]] = count - 1  # no later sequence comes back to these nodes
        new = len(array) - common
        path = np.concatenate([path[:common], np.arange(count, count + new)])
        tokens.append(array[common:])
        depths.append(np.arange(common, len(array)))
        paths[index] = path
        count += new
    last[path] = count - 1
    if not tokens:
        return Tree(array, array, array, ())
    return Tree(np.concatenate(tokens), np.concatenate(depths), last[:count], tuple(paths))


def joined(trees: Sequence[Tree]) -> Tree:
    """Trees side by side in one sequence; no node reads another tree's."""
    before = np.cumsum([0, *(len(one.tokens) for one in trees)])
    return Tree(
        np.concatenate([one.tokens for one in trees]),
        np.concatenate([one.depths for one in trees]),
        np.concatenate([one.last + offset for one, offset in zip(trees, before, strict=False)]),
        tuple(path + offset for one, offset in zip(trees, before, strict=False) for path in one.paths),
    )
