"""What the policy expects to be paid from a state on: read by a head on the policy, or by a model of its own."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from rewardranker.training import with_lora


class ValueHead(nn.Module):
    """Hidden states -> values: one hidden layer in float32 on the policy's own last hidden states.

    The output layer starts at zero, so that the first advantages are the rewards themselves and not the noise of a
    random head. Gradients flow on into the policy's layers (weighted by `ppo.value_coefficient`).
    """

    def __init__(self, hidden_size: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.Linear(hidden_size, hidden_size, dtype=torch.float32)
        self.output = nn.Linear(hidden_size, 1, dtype=torch.float32)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`[..., hidden]` in any precision -> `[...]` in float32."""
        values: torch.Tensor = self.output(torch.tanh(self.hidden(states.float()))).squeeze(-1)
        return values


class Critic(nn.Module):
    """A model of its own for the values: a copy of the policy as it is now, with a value head.

    Args:
        policy: a causal language model without adapters.
        lora_rank: above 0, train adapters on the copy, not the copy.
    """

    def __init__(self, policy: Any, lora_rank: int, lora_alpha: int, seed: int = 0) -> None:
        super().__init__()
        self.head = ValueHead(policy.get_output_embeddings().weight.shape[1], seed)
        self.body = copy.deepcopy(policy if lora_rank else policy.base_model)
        if lora_rank:
            with_lora(self.body, lora_rank, lora_alpha, "CAUSAL_LM", seed)
