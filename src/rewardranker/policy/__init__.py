"""Task + reward -> the generator: supervised fine-tuning and PPO. Names load on first use (training loads PyTorch)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewardranker.policy.ppo import PPOResult, train_ppo
    from rewardranker.policy.rewards import (
        LogProbability,
        MixedReward,
        RewardModelReward,
        VerdictReward,
        build_reward,
    )
    from rewardranker.policy.rollouts import Rollout
    from rewardranker.policy.sft import train_sft

__all__ = [
    "LogProbability",
    "MixedReward",
    "PPOResult",
    "RewardModelReward",
    "Rollout",
    "VerdictReward",
    "build_reward",
    "train_ppo",
    "train_sft",
]

_WHERE = {"train_sft": "sft", "train_ppo": "ppo", "PPOResult": "ppo", "Rollout": "rollouts"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE.get(name, 'rewards')}"), name)
