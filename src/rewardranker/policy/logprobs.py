"""Log-probabilities of chosen tokens from hidden states; no logits outlive the chunk of tokens they belong to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rewardranker.errors import ModelError

CHUNK_LOGITS = 1 << 24
"""Logits computed at a time (64 MB in float32); for more than that the backward computes each chunk's again."""


def chosen_logprobs(states: Tensor, lm_head: Any, chosen: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """What a model's last hidden states say of the tokens that came next.

    Args:
        states: `[tokens, hidden]`, the state before each token.
        lm_head: the model's output embeddings.
        chosen: `[tokens]`, ids.

    Returns:
        float32 `[tokens]`: log-probability of each token at `temperature`, and the entropy (in nats, without gradient)
        of the distribution it was drawn from.
    """
    size = max(1, CHUNK_LOGITS // lm_head.weight.shape[0])
    if len(states) <= size:
        return _chunk_logprobs(states, lm_head, chosen, temperature)
    parts = [
        checkpoint(_chunk_logprobs, s, lm_head, c, temperature, use_reentrant=False)
        if torch.is_grad_enabled()
        else _chunk_logprobs(s, lm_head, c, temperature)
        for s, c in zip(states.split(size), chosen.split(size), strict=True)
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _chunk_logprobs(states: Tensor, lm_head: Any, chosen: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logits = lm_head(states).float()
    every = functional.log_softmax(logits if temperature == 1 else logits / temperature, dim=-1)
    with torch.no_grad():
        entropy = -(every.exp() * every).sum(dim=-1)
    return every.gather(1, chosen[:, None]).squeeze(1), entropy


@torch.no_grad()
def check_head(model: Any, token_id: int) -> None:
    """Refuse a model whose logits are more than its head applied to its last hidden states (capped, scaled ones).

    Raises:
        ModelError: they differ, so `chosen_logprobs` would compute other probabilities than the model samples from.
    """
    input_ids = torch.full((1, 4), token_id, device=next(model.parameters()).device)
    expected = model(input_ids=input_ids, use_cache=False).logits.float()
    states = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
    found = model.get_output_embeddings()(states).float()
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
        raise ModelError(
            f"{type(model).__name__} changes its logits after the language-model head (soft caps or scales): PPO here "
            "supports models without that, such as Llama, Qwen, DeepSeek-Coder, StarCoder2"
        )
