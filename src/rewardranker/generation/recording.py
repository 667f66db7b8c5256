"""What every sampler has in common: the stop texts of a task, and the record made of what a model wrote."""

from __future__ import annotations

from collections.abc import Sequence

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.generation.extraction import assemble_program, extract_code
from rewardranker.types import Sample, Task

CHAT_INSTRUCTION = "Solve this programming task. Answer with the complete code in one fenced block.\n\n{prompt}"
"""What a chat model is asked when no prompt options are given."""


def stop_texts(options: SamplingOptions, prompt: PromptOptions, task: Task) -> tuple[str, ...]:
    """The texts that end a completion of this task.

    A task's own end a function that goes on from the prompt (`\\ndef`); a chat answer begins with one, so there they
    do not hold.
    """
    return options.stop + (task.stop if prompt.style == "plain" else ())


def record_fields(options: SamplingOptions, name: str) -> dict[str, str | int | float]:
    """Columns that are the same in every sample of a sampler."""
    return {"model": name, "seed": options.seed, "temperature": options.temperature, "top_p": options.top_p}


def make_sample(
    task: Task,
    sample_id: int,
    text: str,
    options: SamplingOptions,
    prompt: PromptOptions,
    name: str,
    *,
    token_ids: Sequence[int],
    logprobs: Sequence[float],
    finish_reason: str,
    round: int,
) -> Sample:
    """The record of a text that a model wrote, already cut at its stop text.

    `plain` prompts: the completion is the text, the program is prompt + completion. `chat` prompts: the completion is
    the code found in the answer (`extract_code`), the program is what `assemble_program` makes of it.
    """
    if prompt.style == "plain":
        completion, program = text, task.prompt + text
    else:
        completion = extract_code(text, task.entry_point, task.language)
        program = assemble_program(task, completion)
    return Sample(
        task_id=task.task_id,
        sample_id=sample_id,
        text=text,
        completion=completion,
        program=program,
        token_ids=tuple(token_ids),
        token_logprobs=tuple(_rounded(value) for value in logprobs),
        finish_reason=finish_reason,
        model=name,
        seed=options.seed,
        temperature=options.temperature,
        top_p=options.top_p,
        round=round,
    )


def _rounded(value: float) -> float:
    """Six decimals: all that float32 holds of a log-probability, and half the bytes on disk."""
    return round(value, 6)
