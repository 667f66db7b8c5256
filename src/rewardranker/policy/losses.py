"""What PPO minimises, token by token, and the KL penalty it is paid with. Pure functions of tensors.

The losses come unreduced: the trainer divides by the tokens of a whole minibatch, so that splitting the minibatch for
memory changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def clipped_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate, negated (Schulman et al. 2017, equation 7).

    Returns:
        Loss of each token, `max(-A ratio, -A clip(ratio, 1 - clip, 1 + clip))`, and `ratio = exp(new - old)`.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)), ratio


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Half the squared error of the value, no better than that of the value clipped to `old +- clip`.

    Returns:
        Loss of each token, and whether clipping decided it.
    """
    error = (values - returns) ** 2
    clipped_error = (values.clamp(old_values - clip, old_values + clip) - returns) ** 2
    return 0.5 * torch.maximum(error, clipped_error), clipped_error > error


def penalized_rewards(kl: Tensor, scores: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """Reward of each token: the KL penalty everywhere, and the episode's score at its last token.

    Args:
        kl: `[episodes, tokens]`, log-probability under the policy minus that under the reference.
        scores: `[episodes]`.
        mask: `[episodes, tokens]`; each episode has at least one token.
        coefficient: of the penalty (beta of Ziegler et al. 2019, equation 2).
    """
    rewards = (-coefficient * kl).masked_fill(~mask, 0.0)
    last = mask.sum(dim=1) - 1
    rewards[torch.arange(len(rewards), device=rewards.device), last] += scores
    return rewards


@dataclass(frozen=True, slots=True)
class KLController:
    """The KL coefficient of the next step.

    With a target it moves in proportion to the error, cut at 20 % (Ziegler et al. 2019, section 2.2):
    `beta <- beta (1 + clip((KL - target) / target, -0.2, 0.2) * episodes / horizon)`. Without one it stays.
    """

    target: float | None
    horizon: int
    """Episodes over which an error of 100 % would double the coefficient, were it not cut."""

    def next(self, coefficient: float, kl: float, episodes: int) -> float:
        """
        Args:
            kl: mean KL of an episode in the step just done.
            episodes: number of episodes of that step.
        """
        if self.target is None:
            return coefficient
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return coefficient * (1 + error * episodes / self.horizon)
