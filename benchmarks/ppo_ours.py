"""This package's PPO on the settings of `ppo.py`, which starts it: SETTINGS.json RESULT.json.

Its measurements on validation tasks are left out of the times: TRL makes none.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ppo_memory import Memory

from rewardranker.config import PPOOptions, PromptOptions, Recipe
from rewardranker.models import load_causal_lm
from rewardranker.policy import train_ppo
from rewardranker.policy.rewards import RewardModelReward
from rewardranker.reward import RewardRanker
from rewardranker.rollouts import Rollouts
from rewardranker.runs import read_records
from rewardranker.types import Task, Verdict


class ScaledReward:
    """The reward model's score in deviations from its mean. Notes the process's CPU time at each call."""

    def __init__(self, scorer, mean, deviation):
        self._reward, self._mean, self._deviation = RewardModelReward(scorer), mean, deviation
        self.cpu = []

    def __call__(self, tasks, samples):
        self.cpu.append(time.process_time())
        return ((self._reward(tasks, samples) - self._mean) / self._deviation).astype(np.float32)


class NoJudge:
    """The comparison is of rewards; nothing is executed."""

    isolation = "none"

    def judge(self, items):
        for task, sample in items:
            yield Verdict(task.task_id, sample.sample_id, False, "skipped")

    def close(self):
        pass


def main(settings, result):
    torch.set_num_threads(settings["threads"])
    names = set(PPOOptions.model_fields) & set(settings)
    options = PPOOptions.model_validate(
        {
            **{name: settings[name] for name in names},
            "evaluate_every": 10**6,  # never within the steps
            "validation_samples": 1,
            "normalize_reward": False,  # the reward comes scaled
            "max_grad_norm": 1e9,  # TRL's PPO does not cut gradients
        }
    )
    tasks = list(read_records(settings["tasks"], Task))
    memory = Memory()
    policy, tokenizer = load_causal_lm(settings["policy"])
    reference = None if settings["lora_rank"] else load_causal_lm(settings["policy"])[0]
    reward = ScaledReward(
        RewardRanker.from_pretrained(settings["reward_model"], "cpu"), settings["mean"], settings["deviation"]
    )
    recipe = Recipe(ppo=options)
    with tempfile.TemporaryDirectory() as folder, Rollouts(recipe).of_round(recipe, tokenizer, 1) as rollout:
        history = train_ppo(
            policy,
            reference,
            tokenizer,
            tasks,
            tasks[:1],
            reward,
            rollout,
            NoJudge(),
            options,
            PromptOptions(),
            folder,
            lora_rank=settings["lora_rank"],
        ).history[1:]
    parts = ("rollout", "score", "forward", "update")
    found = {
        "seconds": [sum(line[f"seconds/{part}"] for part in parts) for line in history],
        "parts": {part: [line[f"seconds/{part}"] for line in history] for part in parts},
        "cpu": np.diff(reward.cpu[1:-1]).tolist(),  # from a step's score to the next one's
        "metrics": history,
        **memory.figures(),
    }
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
