"""Hidden states of many programs of the same prompts, every shared beginning read by the model once.

The programs of a prompt form a tree that is packed into one sequence: a token attends to what stands before it in its
own program (a four-dimensional attention mask) and its position is its depth in the tree. The prompt is the root of
the tree, or, where one tree would grow too wide for dense attention, is read first and its keys and values are given to
several trees. Equal programs are one path. States carry gradients where gradients are on.

Guaranteed: the states are those of each program read alone, up to rounding. Whether a model can be read this way is
tried out on a few tokens before its first use, not looked up; one that can't (recurrent layers, positions that follow
the place in the sequence) is read in plain padded batches, and a warning says so.
Not guaranteed: equal bits for another choice of batches; the same dropout as a program read alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from rewardranker.prefix_trees import Tokens, Tree, split, tree
from rewardranker.training import hidden_states, padded, plain_model

PACK_TOKENS = 512
"""Nodes of a tree beside its prompt. Wider trees share more, but attention grows with the square of their width."""
_PADDING = 1 / 8
"""Share of a batch that may be padding before another batch is begun, unless the batch is still small."""
_log = logging.getLogger(__name__)


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


# --- what a model can do ----------------------------------------------------------------------------------------


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
_known: WeakKeyDictionary[Any, Sharing] = WeakKeyDictionary()


def sharing_of(model: Any) -> Sharing:
    """How this model can be read, tried out on its first use and remembered.

    A model that shares nothing is reported once, as a warning of the logger `rewardranker.shared_prompts`.
    """
    plain = plain_model(model)
    if plain not in _known:
        _known[plain] = _try_out(plain)
        if not _known[plain].in_line:
            _log.warning(
                "%s does not share prompts (%s): programs are read in plain padded batches, which is slower",
                type(plain).__name__,
                _known[plain].reason,
            )
    return _known[plain]


@torch.no_grad()
def _try_out(model: Any) -> Sharing:
    """Read five short rows alone, as one tree, and after their prompt; the states must be the same."""
    span = _span(model.config)
    if span < 16:
        return Sharing(False, False, span, f"it reads only {span} tokens at once")
    vocabulary = model.get_input_embeddings().weight.shape[0]
    made = [[(7 * i + 3 * i * i * branch + branch + 2) % vocabulary for i in range(5)] for branch in range(4)]
    prompt = [(5 * i + 1) % vocabulary for i in range(4)]
    rows = [prompt + made[0], prompt + made[1][:3], prompt + made[0][:2] + made[2][:3], prompt + made[3]]
    training = model.training
    model.eval()
    try:
        alone = torch.cat([hidden_states(model, torch.tensor([row], device=model.device))[0] for row in rows]).float()
        flat = _flat(rows, model)
        found: list[bool] = []
        reason = ""
        for after_prompt in (False, True):
            sharing = Sharing(not after_prompt, after_prompt, span)
            try:
                [batch] = plan_batches(rows, [len(prompt)] * len(rows), 1 << 30, sharing)
                states = batch.to(model.device).states(model)
                places = [batch.places[batch.rows.index(i), : len(row)] for i, row in enumerate(rows)]
                shared = states[torch.cat(places).to(states.device)].float()
                fits = _same(alone, shared, flat, model.dtype)
                reason = reason or ("" if fits else "its states depend on what else is in the sequence")
            except Exception as error:  # whatever an architecture raises at a mask or a cache it does not know
                fits, reason = False, reason or f"{type(error).__name__}: {str(error)[:150]}"
            found.append(fits)
    finally:
        model.train(training)
    return Sharing(found[0], found[0] and found[1], span, "" if found[0] else reason)


def _flat(rows: Sequence[Tokens], model: Any) -> Tensor:
    """The states of all rows read as if they were one text, as by a model that heeds neither mask nor positions."""
    text = torch.tensor([[token for row in rows for token in row]], device=model.device)
    return hidden_states(model, text)[0].float()


def _same(alone: Tensor, shared: Tensor, flat: Tensor, dtype: torch.dtype) -> bool:
    """Equal up to rounding; in half precision, where that is coarse, also far closer than `flat` is."""
    error = (shared - alone).norm()
    if dtype in (torch.float32, torch.float64):
        return bool(error <= 1e-4 * alone.norm())
    return bool(error <= 0.05 * alone.norm()) and bool(error <= 0.25 * (flat - alone).norm())


def _span(config: Any) -> int:
    """The widest sequence in which only mask and positions decide what a token reads."""
    text = config.get_text_config(decoder=True)
    limits = [getattr(text, "max_position_embeddings", None)]
    kinds = getattr(text, "layer_types", None)
    if kinds is None or any(kind not in ("full_attention", "attention") for kind in kinds):
        limits += [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    rope = getattr(text, "rope_parameters", None) or {}
    if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):  # frequencies follow the length
        limits.append(rope.get("original_max_position_embeddings"))
    return min([limit for limit in limits if isinstance(limit, int) and limit > 0], default=1 << 30)


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


def _trees(
    members: Sequence[tuple[int, Tokens]], prompt: tuple[int, ...], sharing: Sharing, pack_tokens: int
) -> list[_Piece]:
    """The trees of one prompt: with the prompt in line where one tree holds all, else after it where the model can."""
    indices = [index for index, _ in members]
    whole = [row for _, row in members]
    most = min(len(prompt) + pack_tokens, sharing.span)
    parts = split(whole, most, len(prompt)) if sharing.in_line else []
    if sharing.after_prompt and len(parts) != 1 and prompt:
        programs = [row[len(prompt) :] for row in whole]
        parts = split(programs, min(pack_tokens, sharing.span - len(prompt)))
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


def hidden_states_of(
    model: Any, prompts: Sequence[Tokens], completions: Sequence[Tokens], batch_tokens: int = 8192
) -> list[Tensor]:
    """States from a prompt's last token to its completion's last, `[completion tokens + 1, hidden]` for each pair.

    State t is what completion token t is predicted from. Differentiable; the weights' precision; the pairs' order.
    """
    rows = [[*prompt, *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    found: dict[int, Tensor] = {}
    for batch in plan_batches(rows, [len(prompt) for prompt in prompts], batch_tokens, sharing_of(model)):
        batch = batch.to(plain_model(model).device)
        states = batch.states(model)
        for number, row in enumerate(batch.rows):
            found[row] = states[batch.places[number, len(prompts[row]) - 1 : len(rows[row])]]
    return [found[i] for i in range(len(rows))]
