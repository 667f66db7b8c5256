"""Batches of trees of token rows, planned on the CPU, and the forward pass that reads one (see `shared_prompts`).

Not decided here: whether a model can be read this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rewardranker.prefix_trees import Tokens, Tree, joined, split, tree
from rewardranker.training import hidden_states, padded, plain_model

PACK_TOKENS = 512
"""Nodes of a tree beside its prompt. Wider trees share more, but attention grows with the square of their width."""
_PADDING = 1 / 8
"""Share of a batch that may be padding before another batch is begun, unless the batch is still small."""


class Sharing(NamedTuple):
    """How a model can be read."""

    in_line: bool
    """Whole trees, the prompt among them."""
    after_prompt: bool
    """Trees after a prompt whose keys and values are kept."""
    span: int
    """Widest sequence that may be packed: beyond a sliding window's width, say, nearness in it counts."""
    reason: str = ""
    """Why nothing can be shared; empty where something can."""


PLAIN = Sharing(False, False, 0, "asked for")


@dataclass(frozen=True, slots=True)
class SharedBatch:
    """One forward pass (two, where prompts are read first) over the trees of some rows."""

    rows: tuple[int, ...]
    """Which of the rows this batch answers."""
    places: Tensor
    """`[rows, longest]`: where in the states each token of a row is; 0 behind its end."""
    lengths: Tensor
    """`[rows]`: tokens of each row."""
    input_ids: Tensor
    """`[trees, width]`, right-padded."""
    depths: Tensor | None = None
    """`[trees, width]` positions; None: plain rows, nothing shared."""
    last: Tensor | None = None
    """`[trees, width]`: last descendant of each node."""
    prompt_ids: Tensor | None = None
    """`[prompts, longest]`, right-padded: prompts to read first."""
    prompt_lengths: Tensor | None = None
    prompt_of: Tensor | None = None
    """`[trees]`: the prompt of each tree."""

    @property
    def tokens(self) -> int:
        """Tokens that the model reads, padding included."""
        return self.input_ids.numel() + (0 if self.prompt_ids is None else self.prompt_ids.numel())

    @property
    def flat_ids(self) -> Tensor:
        """`[nodes]`: the token of each of the states."""
        parts = [self.input_ids] if self.prompt_ids is None else [self.prompt_ids, self.input_ids]
        return torch.cat([part.reshape(-1) for part in parts])

    def to(self, device: Any) -> SharedBatch:
        """The same on another device."""
        tensors = {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
        return SharedBatch(self.rows, **{n: None if t is None else t.to(device) for n, t in tensors.items()})

    def states(self, model: Any) -> Tensor:
        """Last hidden states `[nodes, hidden]` of all that was read; `places` says whose they are."""
        if self.depths is None or self.last is None:
            return hidden_states(model, self.input_ids).flatten(0, 1)
        body = plain_model(model).base_model
        width = self.input_ids.shape[1]
        node = torch.arange(width, device=self.input_ids.device)
        sees = (node[None, None, :] <= node[None, :, None]) & (node[None, :, None] <= self.last[:, None, :])
        if self.prompt_ids is None or self.prompt_lengths is None or self.prompt_of is None:
            mask = _additive(sees[:, None], model)
            return body(
                input_ids=self.input_ids, position_ids=self.depths, attention_mask=mask, use_cache=False
            ).last_hidden_state.flatten(0, 1)
        from transformers import DynamicCache

        first = body(input_ids=self.prompt_ids, past_key_values=DynamicCache(), use_cache=True)
        cache = first.past_key_values
        cache.batch_select_indices(self.prompt_of)
        column = torch.arange(self.prompt_ids.shape[1], device=node.device)
        real = column < self.prompt_lengths[self.prompt_of][:, None]
        mask = _additive(torch.cat([real[:, None, :].expand(-1, width, -1), sees], dim=2)[:, None], model)
        second = body(
            input_ids=self.input_ids,
            position_ids=self.depths,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return torch.cat([first.last_hidden_state.flatten(0, 1), second.last_hidden_state.flatten(0, 1)])


def _additive(sees: Tensor, model: Any) -> Tensor:
    """0 where attention may look and the lowest number elsewhere: the one form that all attention code accepts."""
    dtype = plain_model(model).dtype
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, torch.finfo(dtype).min)


# --- planning ---------------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """One sequence of a batch: a row read plainly, or a tree."""

    rows: tuple[int, ...]
    tree: Tree
    prompt: tuple[int, ...]
    """Read before the tree; empty where the tree holds everything."""


def plan_batches(
    rows: Sequence[Tokens],
    prompt_lengths: Sequence[int],
    batch_tokens: int,
    sharing: Sharing,
    pack_tokens: int = PACK_TOKENS,
) -> list[SharedBatch]:
    """The batches that read all rows, each batch of like widths; on the CPU, to be moved by `SharedBatch.to`.

    Args:
        rows: token sequences, prompt first. Those with the same prompt share it; equal rows are read once.
        prompt_lengths: tokens of each row's prompt.
        batch_tokens: bound on a batch's tokens, padding included; a wider sequence is a batch of its own.
        sharing: what the model can do (`sharing_of`), or `PLAIN`.
    """
    families: dict[tuple[int, ...], list[int]] = {}
    for index, (row, length) in enumerate(zip(rows, prompt_lengths, strict=True)):
        families.setdefault(tuple(row[:length]), []).append(index)
    plain: list[_Piece] = []
    trees: list[_Piece] = []
    for prompt, members in families.items():
        distinct: dict[tuple[int, ...], list[int]] = {}
        for index in members:
            distinct.setdefault(tuple(rows[index]), []).append(index)
        longest = max(map(len, distinct))
        if len(distinct) == 1 or longest > sharing.span or not (sharing.in_line or sharing.after_prompt):
            plain += [_Piece(tuple(equal), tree([rows[i] for i in equal]), ()) for equal in distinct.values()]
        else:
            trees += _trees([(i, rows[i]) for i in members], prompt, sharing, pack_tokens)
    in_line = [piece for piece in trees if not piece.prompt]
    after_prompt = [piece for piece in trees if piece.prompt]
    return [
        *(_batch(group, plain=True) for group in _filled(plain, batch_tokens)),
        *(_batch(group) for group in _filled(in_line, batch_tokens)),
        *(_after_prompts(group) for group in _filled(after_prompt, batch_tokens)),
    ]


def single_batch(rows: Sequence[Tokens], prompt_lengths: Sequence[int], sharing: Sharing) -> SharedBatch:
    """All rows, in their order, in one forward pass without kept keys and values: for training.

    Prompts are in line with their programs, so that activations can be recomputed in the backward pass; a prompt with
    many programs is read once for every `PACK_TOKENS` tokens of them. Narrow trees stand side by side.
    """
    if not sharing.in_line or max(map(len, rows)) > sharing.span:
        return _batch([_Piece((index,), tree([row]), ()) for index, row in enumerate(rows)], plain=True)
    families: dict[tuple[int, ...], list[int]] = {}
    for index, (row, length) in enumerate(zip(rows, prompt_lengths, strict=True)):
        families.setdefault(tuple(row[:length]), []).append(index)
    pieces = [
        piece
        for prompt, members in families.items()
        for piece in _trees([(i, rows[i]) for i in members], prompt, sharing._replace(after_prompt=False), PACK_TOKENS)
    ]
    pieces.sort(key=lambda piece: -len(piece.tree.tokens))
    width = len(pieces[0].tree.tokens)
    lines: list[list[_Piece]] = []
    for piece in pieces:  # each to the first line with room
        for line in lines:
            if sum(len(other.tree.tokens) for other in line) + len(piece.tree.tokens) <= width:
                line.append(piece)
                break
        else:
            lines.append([piece])
    batch = _batch([_Piece(sum((p.rows for p in line), ()), joined([p.tree for p in line]), ()) for line in lines])
    order = np.argsort(batch.rows)
    return replace(batch, rows=tuple(range(len(rows))), places=batch.places[order], lengths=batch.lengths[order])


def _trees(
    members: Sequence[tuple[int, Tokens]], prompt: tuple[int, ...], sharing: Sharing, pack_tokens: int
) -> list[_Piece]:
    """The trees of one prompt: with the prompt in line where one tree holds all, else after it where the model can."""
    indices = [index for index, _ in members]
    whole = [row for _, row in members]
    parts = split(whole, pack_tokens, sharing.span, len(prompt)) if sharing.in_line else []
    if sharing.after_prompt and len(parts) != 1 and prompt:
        programs = [row[len(prompt) :] for row in whole]
        parts = split(programs, pack_tokens, sharing.span - len(prompt))
        return [_Piece(tuple(indices[i] for i in part), tree([programs[i] for i in part]), prompt) for part in parts]
    return [_Piece(tuple(indices[i] for i in part), tree([whole[i] for i in part]), ()) for part in parts]


def _filled(pieces: Sequence[_Piece], batch_tokens: int) -> Iterable[list[_Piece]]:
    """Pieces from wide to narrow, those of a prompt together, in batches of at most `batch_tokens` tokens."""
    batch: list[_Piece] = []
    width = widest_prompt = real = 0
    prompts: set[tuple[int, ...]] = set()
    widest: dict[tuple[int, ...], int] = {}
    for piece in pieces:
        widest[piece.prompt] = max(widest.get(piece.prompt, 0), len(piece.tree.tokens))
    place = {prompt: (-wide, i) for i, (prompt, wide) in enumerate(widest.items())}
    for piece in sorted(pieces, key=lambda p: (place[p.prompt], -len(p.tree.tokens))):
        with_it = prompts | {piece.prompt}
        wide, long = max(width, len(piece.tree.tokens)), max(widest_prompt, len(piece.prompt))
        own = len(piece.tree.tokens) + (0 if piece.prompt in prompts else len(piece.prompt))
        tokens = (len(batch) + 1) * wide + len(with_it) * long
        loose = tokens - real - own > _PADDING * tokens and real > _PADDING * batch_tokens
        if batch and (tokens > batch_tokens or loose):
            yield batch
            batch, with_it, wide, long = [], {piece.prompt}, len(piece.tree.tokens), len(piece.prompt)
            real, own = 0, wide + long
        batch.append(piece)
        prompts, width, widest_prompt, real = with_it, wide, long, real + own
    if batch:
        yield batch


def _batch(pieces: Sequence[_Piece], plain: bool = False, before: int = 0) -> SharedBatch:
    """Pieces as tensors, their states standing behind `before` others."""
    width = max(len(piece.tree.tokens) for piece in pieces)
    paths = [path + before + i * width for i, piece in enumerate(pieces) for path in piece.tree.paths]
    depths, last = np.zeros((len(pieces), width), np.int64), np.tile(np.arange(width), (len(pieces), 1))
    for i, piece in enumerate(pieces):
        depths[i, : len(piece.tree.depths)] = piece.tree.depths
        last[i, : len(piece.tree.last)] = piece.tree.last
    return SharedBatch(
        rows=tuple(row for piece in pieces for row in piece.rows),
        places=padded([path.tolist() for path in paths], pad=0),
        lengths=torch.tensor([len(path) for path in paths]),
        input_ids=padded([piece.tree.tokens.tolist() for piece in pieces], pad=0),
        depths=None if plain else torch.from_numpy(depths),
        last=None if plain else torch.from_numpy(last),
    )


def _after_prompts(pieces: Sequence[_Piece]) -> SharedBatch:
    prompts = {prompt: i for i, prompt in enumerate(dict.fromkeys(piece.prompt for piece in pieces))}
    prompt_ids = padded(list(prompts), pad=0)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    prompt_of = torch.tensor([prompts[piece.prompt] for piece in pieces])
    trees = _batch(pieces, before=prompt_ids.numel())
    assert trees.depths is not None
    of_row = [prompts[piece.prompt] for piece in pieces for _ in piece.rows]
    width = prompt_ids.shape[1]
    places = []
    for row, prompt in enumerate(of_row):
        path = trees.places[row, : int(trees.lengths[row])].tolist()
        places.append([*range(prompt * width, prompt * width + int(lengths[prompt])), *path])
    return SharedBatch(
        rows=trees.rows,
        places=padded(places, pad=0),
        lengths=torch.tensor([len(place) for place in places]),
        input_ids=trees.input_ids,
        depths=trees.depths + lengths[prompt_of][:, None],
        last=trees.last,
        prompt_ids=prompt_ids,
        prompt_lengths=lengths,
        prompt_of=prompt_of,
    )
