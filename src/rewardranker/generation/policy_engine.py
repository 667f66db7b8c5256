"""PPO's programs from vLLM in the training's own process, with the policy's weights as they are now.

The engine's weights are replaced before every drawing, in memory and one by one (LoRA adapters added in), and what it
had cached with the old ones is forgotten; so a training that goes on from a checkpoint draws from that checkpoint. The
engine begins with random weights: nothing of the model but its settings is ever read from disk.

Not guaranteed: that vLLM's log-probabilities are those of the policy's own forward pass to the last digit (other
kernels, other shapes): PPO computes its own and reports the difference.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.config import PromptOptions, SamplingOptions, VLLMOptions
from rewardranker.errors import ModelError
from rewardranker.generation.vllm_sampler import VLLMSampler
from rewardranker.training import merged_weights, plain_model
from rewardranker.types import Sample, Task

NewSampler = Callable[..., Any]


class PolicyEngine:
    """One engine a process, made when it is first drawn from."""

    def __init__(self, prompt: PromptOptions, options: VLLMOptions, new_sampler: NewSampler = VLLMSampler) -> None:
        """
        Args:
            new_sampler: called as `VLLMSampler`.
        """
        self._prompt, self._options, self._new_sampler = prompt, options, new_sampler
        self._sampler: Any = None
        self._shape: list[tuple[str, Any]] = []

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[Task], n: int, sampling: SamplingOptions, round: int
    ) -> list[list[Sample]]:
        """`n` programs for each task from `model` as it is now.

        Args:
            model: the policy, on its device, with or without LoRA adapters.

        Raises:
            MissingExtraError: vLLM is not installed.
            ModelError: vLLM can't run the model, or the memory that it may use is too small.
        """
        model = plain_model(model)
        sampler = self._awake(model, tokenizer, sampling)
        try:
            sampler.load_weights(merged_weights(model))
            sampler.options, sampler.name = sampling, f"policy-{round}"
            return list(sampler.sample(tasks, n, round=round)) if tasks else []
        finally:
            if self._sleeps(model):
                sampler.sleep()

    def close(self) -> None:
        """Give the engine's memory back until it is drawn from again; in a launch of several processes it stays."""
        if self._sampler is not None and processes.world_size() == 1:
            self._sampler.close()
            self._sampler = None

    def _awake(self, model: Any, tokenizer: Any, sampling: SamplingOptions) -> Any:
        shape = _shape(model)
        if self._sampler is None:
            self._sampler, self._shape = self._started(model, tokenizer, sampling), shape
        elif shape != self._shape:
            raise ModelError("the policy is of another shape than this process's vLLM engine: one process, one shape")
        elif self._sleeps(model):
            import torch

            torch.cuda.empty_cache()  # what PyTorch keeps for itself is missing when the engine takes its memory back
            self._sampler.wake_up()
        return self._sampler

    def _started(self, model: Any, tokenizer: Any, sampling: SamplingOptions) -> Any:
        options = self._options
        engine: dict[str, Any] = {
            "load_format": "dummy",
            "gpu_memory_utilization": options.gpu_memory_utilization,
            **({"max_model_len": options.max_model_len} if options.max_model_len else {}),
            **({"enable_sleep_mode": True} if self._sleeps(model) else {}),
            **options.engine,
        }
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # it tells of every exchange of weights
        with tempfile.TemporaryDirectory(prefix="rewardranker-policy-") as folder:
            write_settings(model, tokenizer, Path(folder))
            dtype = str(model.dtype).removeprefix("torch.")
            return self._new_sampler(folder, sampling, self._prompt, "policy", dtype=dtype, engine=engine)

    def _sleeps(self, model: Any) -> bool:
        return self._options.sleep and model.device.type == "cuda"


def _shape(model: Any) -> list[tuple[str, Any]]:
    """Names and sizes of all weights but adapters."""
    weights = model.named_parameters()
    return [(name.replace(".base_layer.", "."), weight.shape) for name, weight in weights if ".lora_" not in name]


def write_settings(model: Any, tokenizer: Any, folder: Path) -> None:
    """All of a model's folder but the weights."""
    config = type(model.config).from_dict(model.config.to_dict())
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
