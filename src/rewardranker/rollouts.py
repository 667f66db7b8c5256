"""How PPO draws from the policy as it is: by what `ppo.rollouts` says, with the recipe's stop texts and no top-p."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from rewardranker import processes
from rewardranker.config import Recipe, SamplingOptions
from rewardranker.errors import MissingExtraError
from rewardranker.generation import TransformersSampler
from rewardranker.generation.policy_engine import PolicyEngine
from rewardranker.generation.policy_server import PolicyServer
from rewardranker.policy import Rollout
from rewardranker.types import Sample, Task

ROLLOUT_ROWS = 512
"""Programs that our own sampler draws in one batch."""


class Engine(Protocol):
    """What draws programs from a policy with its weights of this moment."""

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[Task], n: int, sampling: SamplingOptions, round: int
    ) -> list[list[Sample]]: ...

    def close(self) -> None: ...


class Rollouts:
    """The rollouts of all rounds, which share one engine."""

    def __init__(self, recipe: Recipe) -> None:
        self._engine: Engine = OwnSampler(recipe)
        if recipe.ppo.rollouts == "vllm":
            self._engine = PolicyEngine(recipe.prompt, recipe.ppo.vllm)
        elif recipe.ppo.rollouts == "vllm-server":
            self._engine = PolicyServer(recipe.prompt, recipe.ppo.vllm)

    def check(self) -> None:
        """Whether programs will be drawn when PPO comes to it, which may be hours later.

        Raises:
            MissingExtraError: the recipe wants vLLM and it is not installed.
            ModelServerError: the recipe's vLLM server can't be reached.
            ConfigError: that server can't take weights.
        """
        if isinstance(self._engine, PolicyEngine) and find_spec("vllm") is None:
            raise MissingExtraError("vllm", "vllm")
        if isinstance(self._engine, PolicyServer):
            processes.on_main(self._engine.check)

    @contextmanager
    def of_round(self, recipe: Recipe, tokenizer: Any, round: int) -> Iterator[Rollout]:
        """What `train_ppo` draws with; after the context its memory is free for other stages."""
        engine = self._engine

        def draw(
            model: Any, tasks: Sequence[Task], samples_per_task: int, *, seed: int, temperature: float
        ) -> list[list[Sample]]:
            changes = {
                "temperature": temperature,
                "top_p": 1.0,
                "max_new_tokens": recipe.ppo.max_new_tokens,
                "seed": seed,
                "batch_tasks": max(1, len(tasks)),
            }
            sampling = recipe.sampling.model_copy(update=changes)
            return engine.draw(model, tokenizer, tasks, samples_per_task, sampling, round)

        try:
            yield draw
        finally:
            engine.close()


class OwnSampler:
    """This package's sampler on the policy itself, some hundred programs at a time."""

    def __init__(self, recipe: Recipe) -> None:
        self._prompt = recipe.prompt

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[Task], n: int, sampling: SamplingOptions, round: int
    ) -> list[list[Sample]]:
        """See `Engine`."""
        batched = sampling.model_copy(update={"batch_tasks": max(1, ROLLOUT_ROWS // n)})
        sampler = TransformersSampler(model, tokenizer, batched, self._prompt, f"policy-{round}")
        return list(sampler.sample(tasks, n, round=round))

    def close(self) -> None:
        """There is nothing to give back: the policy is the training's."""
