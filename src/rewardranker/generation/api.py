"""`sample(tasks, model)`: programs with one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewardranker.config import PromptOptions, SamplingOptions, validate
from rewardranker.generation.recording import CHAT_INSTRUCTION
from rewardranker.generation.sampler import TransformersSampler
from rewardranker.models import load_causal_lm
from rewardranker.types import Sample, Task

_MAX_NEW_TOKENS = 512  # pretrained models write longer than the small ones that the recipe's default is for


def sample(
    tasks: Sequence[Task],
    model: str | TransformersSampler,
    n: int = 8,
    *,
    prompt: PromptOptions | None = None,
    device: str = "auto",
    dtype: str = "float32",
    **options: Any,
) -> list[Sample]:
    """Draw `n` programs for each task.

    Args:
        model: a hub name, a folder, `smollm2-135m`, or a sampler.
        prompt: None: that of the sampler; for a model by name, `chat` if its tokenizer has a chat template, else
            `plain`.
        device: where a model given by name is put.
        dtype: precision of a model given by name.
        **options: fields of `SamplingOptions`: `seed`, `temperature`, `top_p`, `max_new_tokens`, `stop`,
            `batch_tasks`. Those not given are the sampler's; for a model by name `max_new_tokens` is 512 and the
            others are the class's defaults.

    Returns:
        `n * len(tasks)` samples, task after task.

    Raises:
        ConfigError: an option does not exist or its value is out of range.
        ModelError: the model can't be loaded or decoded, or a prompt is too long for it.
    """
    if isinstance(model, str):
        sampler = _load(
            model, prompt, device, dtype, validate(SamplingOptions, {"max_new_tokens": _MAX_NEW_TOKENS, **options})
        )
    else:
        sampler = TransformersSampler(
            model.model,
            model.tokenizer,
            validate(SamplingOptions, {**model.options.model_dump(), **options}),
            prompt or model.prompt,
            model.name,
            model.end_token_ids,
        )
    return [record for records in sampler.sample(tasks, n) for record in records]


def _load(
    name: str, prompt: PromptOptions | None, device: str, dtype: str, options: SamplingOptions
) -> TransformersSampler:
    model, tokenizer = load_causal_lm(name, dtype, device)
    if prompt is None:
        chat = PromptOptions(style="chat", instruction=CHAT_INSTRUCTION)
        prompt = chat if tokenizer.chat_template else PromptOptions()
    return TransformersSampler(model, tokenizer, options, prompt, name)
