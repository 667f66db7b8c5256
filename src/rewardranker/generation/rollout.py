"""Drawing programs from a policy whose weights change between calls, as PPO needs it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.generation.sampler import TransformersSampler
from rewardranker.types import Sample, Task


class Rollout:
    """Callable that draws programs from the model it is given, as the model is at that moment.

    Nothing but temperature reshapes the distribution (top-p is 1): the programs are the policy's own. The same model,
    tasks, seed and temperature give the same programs.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt: PromptOptions,
        *,
        max_new_tokens: int,
        stop: tuple[str, ...] = (),
        end_token_ids: Collection[int] | None = None,
        batch_tasks: int = 128,
        name: str = "policy",
    ) -> None:
        """
        Args:
            stop: texts that end a program, as in `SamplingOptions`.
            end_token_ids: as in `TransformersSampler`.
            batch_tasks: tasks decoded together.
            name: the samples' `model`.
        """
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._options = SamplingOptions(max_new_tokens=max_new_tokens, stop=stop, batch_tasks=batch_tasks)
        self._end_token_ids = end_token_ids
        self._name = name

    def __call__(
        self, model: Any, tasks: Sequence[Task], samples_per_task: int, *, seed: int, temperature: float
    ) -> list[list[Sample]]:
        """`samples_per_task` programs of each task, task after task.

        Raises:
            ModelError: as `TransformersSampler`.
        """
        options = self._options.model_copy(update={"seed": seed, "temperature": temperature})
        sampler = TransformersSampler(model, self._tokenizer, options, self._prompt, self._name, self._end_token_ids)
        return list(sampler.sample(tasks, samples_per_task))
