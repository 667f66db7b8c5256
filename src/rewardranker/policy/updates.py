"""A PPO step's forward passes before the updates, and the updates themselves, in micro-batches bounded by tokens.

The processes of a launch share the episodes of every minibatch: each scores its own, the numbers and gradients are
added up, so all take the same steps, which are those of one process but for the order of the additions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewardranker import processes
from rewardranker.config import PPOOptions
from rewardranker.policy.episodes import EpisodeBatch, Episodes, TokenScores
from rewardranker.policy.losses import clipped_policy_loss, clipped_value_loss
from rewardranker.policy.reference import without_adapters
from rewardranker.policy.rollouts import derived_seed
from rewardranker.policy.value_head import Critic, ValueHead
from rewardranker.shared_prompts import Sharing

MEANS = (
    "loss/policy_avg",
    "loss/value_avg",
    "policy/clipfrac_avg",
    "policy/approxkl_avg",
    "policy/entropy_avg",
    "val/clipfrac_avg",
    "val/ratio",
    "val/ratio_var",
)
"""Metrics of the updates that are means over tokens."""


@dataclass(frozen=True, slots=True)
class Minibatch:
    """The episodes of one optimiser step."""

    batches: list[EpisodeBatch]
    """Micro-batches of this process's episodes."""
    tokens: int
    """Completion tokens of all processes' episodes."""


Plan = list[list[Minibatch]]
"""Minibatches of each epoch."""


def plan_of_step(episodes: Episodes, step: int, options: PPOOptions, round: int, sharing: Sharing) -> Plan:
    """Shuffled minibatches of equal numbers of episodes, a new shuffle for each epoch.

    Tasks are shuffled, not episodes: a task's episodes stay together, so that their prompt is read once (only where a
    minibatch ends within a task, twice). The processes of a launch share each minibatch.
    """
    generator = np.random.default_rng(derived_seed(options.seed, "minibatches", round, step))
    tasks = episodes.rows_by_prompt(range(len(episodes)))
    plan = []
    for _ in range(options.epochs):
        shuffled = [row for task in generator.permutation(len(tasks)) for row in tasks[task]]
        parts = [part.tolist() for part in np.array_split(np.asarray(shuffled), options.minibatches) if len(part)]
        plan.append(
            [
                Minibatch(
                    list(episodes.batches(processes.own_share(part), options.micro_batch_tokens, sharing)),
                    int(episodes.lengths[part].sum()),
                )
                for part in parts
            ]
        )
    return plan


@dataclass(frozen=True, slots=True)
class TokenNumbers:
    """What stays fixed during the updates of a step, each `[episodes, longest completion]`, 0 on padding."""

    logprobs: Tensor
    values: Tensor
    reference_logprobs: Tensor


@dataclass(frozen=True, slots=True)
class Learner:
    """What is trained, and how: the policy and what reads values, the reference that holds it, and their optimiser."""

    policy: Any
    critic: ValueHead | Critic
    reference: Any
    """A model of its own, or the policy, which is then read without its LoRA adapters."""
    optimizer: Any
    options: PPOOptions

    @property
    def value_head(self) -> ValueHead | None:
        """The head that stands on the policy, if there is one."""
        return self.critic if isinstance(self.critic, ValueHead) else None

    def before_updates(self, episodes: Episodes, plan: Plan) -> tuple[TokenNumbers, TokenScores | None]:
        """Log-probabilities and values of all episodes, in the batches of the plan's first epoch.

        Only equal shapes give equal bits: in those batches the first ratios are exactly 1. The sampler's own
        log-probabilities, computed in other shapes, would give ratios that rounding has moved; and the forward that
        the values need gives these as well.

        Returns:
            The numbers, of all processes' episodes; and this process's first batch as the policy scored it, with its
            graph, for the first update, which would compute the same (None: it has no episodes in that update).
        """
        shape, where = episodes.mask.shape, episodes.mask.device
        every = torch.zeros((3, *shape), device=where)
        numbers = TokenNumbers(*every)
        batches = [batch for minibatch in plan[0] for batch in minibatch.batches]
        first = None
        temperature = self.options.temperature
        with torch.no_grad(), without_adapters(self.reference):
            for batch in batches:
                scored = batch.score(self.reference, None, temperature)
                numbers.reference_logprobs[batch.rows] = episodes.padded(scored.logprobs, batch.rows)
        for batch in reversed(batches):
            is_first = batch is next(iter(plan[0][0].batches), None)
            with torch.set_grad_enabled(is_first):
                scored = batch.score(self.policy, self.value_head, temperature)
            first = scored if is_first else None
            numbers.logprobs[batch.rows] = episodes.padded(scored.logprobs.detach(), batch.rows)
            if isinstance(self.critic, Critic):
                with torch.no_grad():
                    scored = scored._replace(values=batch.values(self.critic))
            numbers.values[batch.rows] = episodes.padded(scored.values.detach(), batch.rows)
        processes.summed(every)  # each row is one process's, and 0 elsewhere
        return numbers, first

    def update(
        self,
        episodes: Episodes,
        plan: Plan,
        old: TokenNumbers,
        first: TokenScores | None,
        advantages: Tensor,
        returns: Tensor,
        guard: Callable[[Mapping[str, float]], None],
        weights: Tensor | None = None,
    ) -> dict[str, float]:
        """All optimiser steps of a PPO step; means over the tokens of all of them.

        Args:
            first: the first batch as `before_updates` scored it; None: score it here.
            guard: called with losses and the gradient's norm before the optimiser uses them; raises to stop.
            weights: of each token's policy loss, `[episodes, longest completion]`; None: 1.
        """
        options = self.options
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        sums: dict[str, float] = defaultdict(float)
        tokens_seen, norms = 0, []
        for minibatch in (minibatch for epoch in plan for minibatch in epoch):
            here = torch.zeros(len(MEANS), dtype=torch.float64, device=episodes.mask.device)
            for batch in minibatch.batches:
                rows, mask = batch.rows, episodes.mask[batch.rows]
                new = first or batch.score(self.policy, self.value_head, options.temperature)
                first = None
                policy_loss, ratio = clipped_policy_loss(
                    new.logprobs, old.logprobs[rows][mask], advantages[rows][mask], options.clip
                )
                weighed = policy_loss if weights is None else policy_loss * weights[rows][mask]
                # Sums over the micro-batch, divided by the tokens of the minibatch: its exact mean, however split.
                loss, values = weighed.sum() / minibatch.tokens, new.values
                if isinstance(self.critic, Critic):
                    loss.backward()  # its activations are gone before the critic has any
                    loss, values = 0.0, batch.values(self.critic)
                value_loss, value_clipped = clipped_value_loss(
                    values, old.values[rows][mask], returns[rows][mask], options.value_clip
                )
                (loss + options.value_coefficient * value_loss.sum() / minibatch.tokens).backward()
                sums_here = {
                    "loss/policy_avg": weighed,
                    "loss/value_avg": value_loss,
                    "policy/clipfrac_avg": policy_loss > -advantages[rows][mask] * ratio,
                    "policy/approxkl_avg": 0.5 * (new.logprobs - old.logprobs[rows][mask]) ** 2,
                    "policy/entropy_avg": new.entropy,
                    "val/clipfrac_avg": value_clipped,
                    "val/ratio": ratio,
                    "val/ratio_var": ratio**2,
                }
                here += torch.stack([sums_here[name].detach().double().sum() for name in MEANS])
            processes.sum_gradients(parameters)
            for name, number in zip(MEANS, processes.summed(here).tolist(), strict=True):
                sums[name] += number
            norm = torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm).item()
            guard({**sums, "gradient norm": norm})
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)  # none of its memory is held while programs are drawn
            norms.append(norm)
            tokens_seen += minibatch.tokens
        metrics = {name: total / tokens_seen for name, total in sums.items()}
        metrics["val/ratio_var"] = max(0.0, metrics["val/ratio_var"] - metrics["val/ratio"] ** 2)
        metrics["policy/grad_norm"] = float(np.mean(norms))
        return metrics
