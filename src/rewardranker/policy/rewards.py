"""What PPO maximises: each class is a `types.RewardFunction`, one float32 number for each (task, sample).

They can be called from anywhere, not only from PPO; none of them keeps state between calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.config import PromptOptions
from rewardranker.errors import ConfigError, DataError
from rewardranker.policy.episodes import Episodes
from rewardranker.policy.reference import without_adapters
from rewardranker.prompts import encode_prompt
from rewardranker.shared_prompts import sharing_of
from rewardranker.types import Judge, RewardFunction, Sample, Scorer, Task


class RewardModelReward:
    """The reward model's score of the task's prompt with the sample's completion."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def __call__(self, tasks: Sequence[Task], samples: Sequence[Sample]) -> NDArray[np.float32]:
        pairs = [(task.prompt, sample.completion) for task, sample in zip(tasks, samples, strict=True)]
        return np.asarray(self.scorer.predict(pairs), dtype=np.float32)


class LogProbability:
    """Natural log-probability of the sample's tokens under a model (the SFT generator), summed over the program.

    It errs otherwise than a reward model does, so a mixture of the two is harder to exploit than either.
    """

    def __init__(self, model: Any, tokenizer: Any, prompt: PromptOptions, batch_tokens: int = 16_384) -> None:
        """
        Args:
            model: is read without its LoRA adapters, if it has any.
            batch_tokens: tokens in one forward, padding included.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.batch_tokens = batch_tokens

    @torch.no_grad()
    def __call__(self, tasks: Sequence[Task], samples: Sequence[Sample]) -> NDArray[np.float32]:
        """
        Raises:
            DataError: a sample has no token_ids (another tool's samples may not).
        """
        if not samples:
            return np.zeros(0, dtype=np.float32)
        for sample in samples:
            if not sample.token_ids:
                raise DataError(
                    f"sample {sample.sample_id} of task '{sample.task_id}' has no token_ids: its log-probability "
                    "can't be computed; draw it with `rewardranker sample`"
                )
        prompts = [encode_prompt(self.tokenizer, task.prompt, self.prompt) for task in tasks]
        device = str(next(self.model.parameters()).device)
        episodes = Episodes.build(prompts, [s.token_ids for s in samples], device)
        sums = np.zeros(len(samples), dtype=np.float32)
        with without_adapters(self.model):
            for batch in episodes.batches(range(len(episodes)), self.batch_tokens, sharing_of(self.model)):
                logprobs = batch.score(self.model, None, temperature=1.0).logprobs
                sums[batch.rows] = episodes.padded(logprobs, batch.rows).sum(dim=1).cpu().numpy()
        return sums


class VerdictReward:
    """1 for a program that passes its tests, else 0; or the share of the tests passed.

    With it PPO learns from the tests themselves instead of a model of them.
    """

    def __init__(self, judge: Judge, fraction: bool = False) -> None:
        self.judge = judge
        self.fraction = fraction

    def __call__(self, tasks: Sequence[Task], samples: Sequence[Sample]) -> NDArray[np.float32]:
        verdicts = self.judge.judge(zip(tasks, samples, strict=True))
        return np.asarray([v.fraction if self.fraction else float(v.passed) for v in verdicts], dtype=np.float32)


class MixedReward:
    """A weighted sum of rewards, each in its own unit (a score, nats, passed or not)."""

    def __init__(self, parts: Mapping[RewardFunction, float]) -> None:
        self.parts = dict(parts)

    def __call__(self, tasks: Sequence[Task], samples: Sequence[Sample]) -> NDArray[np.float32]:
        total = np.zeros(len(samples), dtype=np.float32)
        for function, weight in self.parts.items():
            total += np.float32(weight) * function(tasks, samples)
        return total


def build_reward(
    weights: Mapping[Any, float],
    *,
    scorer: Scorer | None = None,
    reference: Any | None = None,
    tokenizer: Any | None = None,
    prompt: PromptOptions | None = None,
    judge: Judge | None = None,
) -> RewardFunction:
    """The reward that `ppo.reward` describes.

    Args:
        weights: of `reward` (needs `scorer`), `logprob` (needs `reference`, `tokenizer`, `prompt`) and `verdict`
            (needs `judge`); parts of weight 0 are left out.

    Raises:
        ConfigError: an unknown part, no part, or what a part needs was not given.
    """
    parts: dict[RewardFunction, float] = {}
    for name, weight in weights.items():
        if weight == 0:
            continue
        if name == "reward" and scorer is not None:
            parts[RewardModelReward(scorer)] = weight
        elif name == "logprob" and reference is not None and tokenizer is not None and prompt is not None:
            parts[LogProbability(reference, tokenizer, prompt)] = weight
        elif name == "verdict" and judge is not None:
            parts[VerdictReward(judge)] = weight
        else:
            needs = {"reward": "a reward model", "logprob": "the SFT model and its tokenizer", "verdict": "a judge"}
            if name in needs:
                raise ConfigError(f"ppo.reward.{name}: needs {needs[name]}, which was not given")
            raise ConfigError(f"ppo.reward.{name}: unknown part; known: {', '.join(needs)}")
    if not parts:
        raise ConfigError("ppo.reward: no part has a weight, so there is nothing to maximise; try {reward: 1}")
    if list(parts.values()) == [1.0]:
        return next(iter(parts))
    return MixedReward(parts)
