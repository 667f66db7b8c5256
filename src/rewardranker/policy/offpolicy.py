"""How far what drew the programs is from the policy that is trained on them.

An engine with other kernels, another precision or merged adapters gives slightly other probabilities than the policy's
own forward pass, and one whose weights were not replaced gives entirely other ones. Both are measured on the drawn
tokens; small differences can be weighed out. Nothing can be said where samples come without log-probabilities, or at
another temperature than 1, which is the one that records keep them at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rewardranker.config import PPOOptions
from rewardranker.errors import DataError, TrainingError
from rewardranker.types import Sample

LARGEST_GAP = 0.5
"""Mean difference of log-probabilities, in nats, that no rounding makes: bfloat16 makes some hundredths."""


def sampler_logprobs(samples: Sequence[Sample], mask: Tensor, options: PPOOptions) -> Tensor | None:
    """Log-probabilities of the tokens as their sampler computed them; None where they are not known.

    Returns:
        float32, `[episodes, longest completion]` as `mask`, 0 on padding.

    Raises:
        DataError: `ppo.importance_cap` is set and samples have none.
    """
    known = all(len(sample.token_logprobs) == len(sample.token_ids) for sample in samples)
    if options.temperature != 1 or not known:
        if options.importance_cap is not None:
            raise DataError("ppo.importance_cap needs the sampler's log-probabilities: the rollout gives none")
        return None
    flat = torch.tensor([value for sample in samples for value in sample.token_logprobs], device=mask.device)
    return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, flat)


def importance_weights(logprobs: Tensor, drawn: Tensor | None, cap: float | None) -> Tensor | None:
    """`min(cap, p_policy / p_sampler)` of each token: truncated importance sampling (Ionides 2008), 1 on padding."""
    return None if drawn is None or cap is None else torch.exp(logprobs - drawn).clamp(max=cap)


def gap_metrics(logprobs: Tensor, drawn: Tensor | None, mask: Tensor, step: int, folder: Path) -> dict[str, float]:
    """`rollout/...` metrics; none where the sampler's log-probabilities are not known.

    Args:
        logprobs: of the policy before the updates, `[episodes, longest completion]`.
        step: for the error.

    Raises:
        TrainingError: the programs were not drawn from this policy.
    """
    if drawn is None:
        return {}
    gaps = (logprobs - drawn)[mask].abs()
    mean = gaps.mean().item()
    if mean > LARGEST_GAP:
        raise TrainingError(
            f"PPO step {step}: the sampler's log-probabilities of its tokens differ from the policy's by {mean:.3g} "
            "nats on average: what draws the programs has other weights than the policy. With "
            "ppo.rollouts=vllm-server see that nothing else uses the server and that its model is this policy's; else "
            f"set ppo.rollouts=transformers. What was done before this step is in {folder}."
        )
    return {"rollout/logprob_gap": mean, "rollout/logprob_gap_max": gaps.max().item()}
