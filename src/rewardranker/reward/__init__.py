"""The reward model: preferences -> a scorer of programs that ranks samples and rewards PPO."""

from rewardranker.reward.ranker import RewardRanker
from rewardranker.reward.trainer import train_reward

__all__ = ["RewardRanker", "train_reward"]
