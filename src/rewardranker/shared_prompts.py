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
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rewardranker.prefix_trees import Tokens
from rewardranker.shared_batches import PLAIN, SharedBatch, Sharing, plan_batches, single_batch
from rewardranker.training import hidden_states, plain_model

__all__ = ["PLAIN", "SharedBatch", "Sharing", "hidden_states_of", "plan_batches", "sharing_of", "single_batch"]

_log = logging.getLogger(__name__)
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
