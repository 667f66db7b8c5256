"""Advantages of an episode's tokens: generalised advantage estimation and whitening. Pure functions of tensors.

All tensors are `[episodes, tokens]`, right-padded; `mask` is True on real tokens. What stands on padding never reaches
a result.
"""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the batch's real tokens; padding becomes 0.

    The variance is the population's; equal values (variance 0) become 0, not NaN.
    """
    real = values[mask]
    white = (values - real.mean()) * torch.rsqrt(real.var(correction=0) + 1e-8)
    return white.masked_fill(~mask, 0.0)


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16) with the end of the episode as terminal.

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lambda A_{t+1};  V and A are 0 after the last token.

    Args:
        rewards: reward of each action.
        values: V of the state before each action.

    Returns:
        Advantages, and returns (advantage + value: the value head's target). Both are 0 on padding.
    """
    rewards, values = rewards.masked_fill(~mask, 0.0), values.masked_fill(~mask, 0.0)
    advantages = torch.zeros_like(rewards)
    following_value = torch.zeros_like(rewards[:, 0])
    following_advantage = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        following_advantage = (delta + gamma * gae_lambda * following_advantage) * mask[:, t]
        following_value = values[:, t]
        advantages[:, t] = following_advantage
    return advantages, advantages + values
