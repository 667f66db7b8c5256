"""The reward model: preferences -> a scorer of programs that ranks samples and rewards PPO."""

from rewardranker.reward.ranker import RewardRanker
from rewardranker.reward.trainer import reward_figures, train_reward

__all__ = ["RewardRanker", "reward_figures", "train_reward"]
