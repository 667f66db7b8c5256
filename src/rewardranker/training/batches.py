"""What a training reads, step by step: examples that fit, batches filled by tokens, their parts for each process.

The plan of all batches follows from lengths, options and seed alone, so it is the same on every process, machine and
resumption. How a batch is divided among processes and micro-batches changes memory and speed, not the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rewardranker.config import TrainingOptions
from rewardranker.errors import DataError

_BUCKET_BATCHES = 50  # examples are sorted by length within so many batches: little padding, still well mixed


def fit_tokens(
    prompt: Sequence[int], completion: Sequence[int], limit: int, truncate: bool, bos: int | None, where: str
) -> tuple[list[int], list[int]]:
    """Prompt and completion of at most `limit` tokens together (see `length_limit`); only the prompt's start is cut.

    A begin-of-sequence token at the prompt's start stays; at least one token of the prompt does.

    Raises:
        DataError: too long and `truncate` is off, or the completion alone does not fit; says where, and the remedy.
    """
    length = len(prompt) + len(completion)
    if length <= limit:
        return list(prompt), list(completion)
    if not truncate:
        raise DataError(
            f"{where} has {length} tokens, more than the limit of {limit} (max_length, or the model's positions): "
            "raise max_length, leave it out, or set truncate_prompt=true to cut the start of its prompt"
        )
    room = limit - len(completion)
    if room < 1:
        raise DataError(
            f"{where}: the program alone has {len(completion)} tokens, which leaves no room for its prompt in the "
            f"limit of {limit} (max_length, or the model's positions): raise max_length or leave it out (programs are "
            "never cut)"
        )
    if bos is not None and prompt[0] == bos and room > 1:
        return [bos, *prompt[len(prompt) - room + 1 :]], list(completion)
    return list(prompt[len(prompt) - room :]), list(completion)


def padded(sequences: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    """int64 `[len(sequences), longest]`, padded on the right, where causal attention never reads it."""
    longest = max(map(len, sequences))
    return torch.tensor([[*sequence, *[pad] * (longest - len(sequence))] for sequence in sequences])


def token_batches(
    lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int, rows: Sequence[int] | None = None
) -> list[list[int]]:
    """One pass over all items, in shuffled batches of items of like length.

    Args:
        lengths: tokens of each item's longest row.
        batch_tokens: bound on a batch's rows times its longest row, padding included. An item above it is a batch of
            its own.
        rows: rows of each item (candidates of a group); None: one each.

    Returns:
        Item indices of each batch; the same for the same arguments on every machine.
    """
    if not lengths:
        return []
    rows = rows or [1] * len(lengths)
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    sizes = np.asarray(lengths, dtype=np.int64)
    bucket = np.cumsum((sizes * np.asarray(rows))[order]) // (_BUCKET_BATCHES * batch_tokens)
    batches: list[list[int]] = [[]]
    filled = longest = 0
    for number in np.unique(bucket):
        members = order[bucket == number]
        members = members[np.argsort(sizes[members], kind="stable")]
        # Every other bucket runs from long to short, so that the batch open at its end goes on with like lengths.
        for item in (members if number % 2 == 0 else members[::-1]).tolist():
            if batches[-1] and (filled + rows[item]) * max(longest, lengths[item]) > batch_tokens:
                batches.append([])
                filled = longest = 0
            batches[-1].append(item)
            filled += rows[item]
            longest = max(longest, lengths[item])
    generator.shuffle(batches)
    return batches


def batch_plan(lengths: Sequence[int], options: TrainingOptions, rows: Sequence[int] | None = None) -> list[list[int]]:
    """The batches of a whole training in order; of a fractional last epoch that share of batches, at least one."""
    plan: list[list[int]] = []
    for epoch in range(math.ceil(options.epochs)):
        batches = token_batches(lengths, options.batch_tokens, options.seed, epoch, rows)
        share = min(1.0, options.epochs - epoch)
        plan += batches[: max(1, round(len(batches) * share))]
    return plan


# --- a batch among processes and micro-batches --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an example costs: its `rows` (one, or a group's candidates) times its longest row."""

    lengths: Sequence[int]
    """Tokens of each example's longest row."""
    rows: Sequence[int] | None = None
    """None: one each."""

    def rows_of(self, item: int) -> int:
        return self.rows[item] if self.rows is not None else 1

    def cost(self, item: int) -> int:
        return self.rows_of(item) * self.lengths[item]


def divided(
    batch: Sequence[int], sizes: Sizes, processes: int, micro_batch_tokens: int | None
) -> list[list[list[int]]]:
    """The micro-batches of each process; on all processes equally many, some of them empty where examples are few.

    Equally many, because processes that shard a model's weights have to go through it together.

    Args:
        batch: indices of the examples of an optimisation step.
        micro_batch_tokens: bound on a micro-batch's rows times its longest row (a larger example stands alone); None:
            one micro-batch a process.
    """
    if processes == 1 and micro_batch_tokens is None:
        return [[list(batch)]]
    by_cost = sorted(batch, key=lambda item: (-sizes.cost(item), item))
    shares: list[list[int]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for item in by_cost:  # the longest first, each to the process with the least so far
        where = loads.index(min(loads))
        shares[where].append(item)
        loads[where] += sizes.cost(item)
    parts = [_micro_batches(share, sizes, micro_batch_tokens) for share in shares]
    most = max(map(len, parts))
    return [part + [[] for _ in range(most - len(part))] for part in parts]


def _micro_batches(share: list[int], sizes: Sizes, bound: int | None) -> list[list[int]]:
    if bound is None:
        return [share] if share else []
    parts: list[list[int]] = []
    filled = longest = 0
    for item in sorted(share, key=lambda item: (-sizes.lengths[item], item)):
        longest = max(longest, sizes.lengths[item])
        if not parts or (filled + sizes.rows_of(item)) * longest > bound:
            parts.append([])
            filled, longest = 0, sizes.lengths[item]
        parts[-1].append(item)
        filled += sizes.rows_of(item)
    return parts
