"""Opens the sampler that a recipe and an engine's name ask for, in this process."""

from __future__ import annotations

from typing import Any

from rewardranker.config import Recipe
from rewardranker.types import Sampler


def open_sampler(
    recipe: Recipe, model: str, engine: str = "transformers", options: dict[str, Any] | None = None, name: str = ""
) -> Sampler:
    """A sampler in this process, on the device and with the threads that the recipe's `launch` says.

    Args:
        model: as `load_causal_lm` takes it; for vLLM a folder or a hub name.
        engine: `transformers` or `vllm`.
        options: arguments of vLLM's own.
        name: written into each sample; empty: `model`.

    Raises:
        MissingExtraError: vLLM is asked for and not installed.
        ModelError: the model can't be loaded.
    """
    name = name or model
    if engine == "vllm":
        from rewardranker.generation.vllm_sampler import VLLMSampler

        return VLLMSampler(model, recipe.sampling, recipe.prompt, name, dtype=recipe.model.dtype, engine=options or {})
    from rewardranker.generation.sampler import TransformersSampler
    from rewardranker.models import choose_device, load_causal_lm, use_threads

    use_threads(recipe.launch.threads)
    loaded, tokenizer = load_causal_lm(model, recipe.model.dtype, choose_device(recipe.launch.device))
    return TransformersSampler(loaded, tokenizer, recipe.sampling, recipe.prompt, name)
