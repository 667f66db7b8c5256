"""Supervised fine-tuning: (prompt, correct program) examples -> a generator.

The loss is the mean negative log-likelihood of the program's tokens and its end token; the prompt is only read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from rewardranker import processes
from rewardranker.config import LaunchOptions, PromptOptions, SFTOptions
from rewardranker.errors import DataError
from rewardranker.progress import Silent
from rewardranker.prompts import encode_completion, encode_prompt
from rewardranker.training import (
    SUMMARY,
    PlannedTrainer,
    Sizes,
    batch_plan,
    checkpoints_folder,
    fingerprint,
    fit_tokens,
    has_plain_head,
    hidden_states,
    is_finished,
    length_limit,
    padded,
    plain_model,
    save_finished,
    token_batches,
    training_arguments,
    training_device,
    with_lora,
)
from rewardranker.types import ProgressReporter

Texts = tuple[str, str] | tuple[str, str, str]
"""Prompt, completion, and the completion's language where it is not Python."""

Example = tuple[list[int], list[int]]
"""Token ids of a prompt and of its completion with the end token."""


def train_sft(
    examples: Sequence[Texts],
    model: Any,
    tokenizer: Any,
    options: SFTOptions,
    prompt: PromptOptions,
    output_dir: str | Path,
    *,
    validation: Sequence[Texts] = (),
    lora_rank: int = 0,
    lora_alpha: int = 32,
    progress: ProgressReporter | None = None,
    device: str = "auto",
    launch: LaunchOptions | None = None,
) -> Path:
    """Fine-tune a causal language model on (prompt, completion) pairs.

    A kill loses at most `options.save_steps` steps: the same call goes on from the last complete checkpoint (kept
    beside `output_dir`) to the weights of an undisturbed run. A finished training is not repeated.

    Args:
        examples: (prompt, completion) or (prompt, completion, language) texts.
        model: a causal language model; its weights are trained in place.
        validation: pairs whose loss per token is measured before and after.
        lora_rank: above 0, train LoRA adapters of that rank only and add them into the weights at the end.
        launch: trackers and checkpoints kept; the number of processes is the launch's own.

    Returns:
        `output_dir`: model and tokenizer for `AutoModelForCausalLM`, and `training.json` with the figures `loss`
        (nats per token, mean of the last steps), `examples`, `steps`, `tokens`, and with validation pairs
        `validation_loss` and `validation_loss_before`.

    Raises:
        DataError: no examples, an empty one, or one longer than `options.max_length`.
        TrainingError: the loss is not finite.
        RunDirectoryError: the disk is full, or `output_dir` holds another training's model.
        MissingExtraError: LoRA without peft.
    """
    output_dir, progress = Path(output_dir), progress or Silent()
    if not examples:
        raise DataError("no examples to fine-tune on")
    limit = length_limit(options.max_length, model)
    encoded = encode_examples(examples, tokenizer, prompt, limit, options.truncate_prompt)
    held_out = encode_examples(validation, tokenizer, prompt, limit, options.truncate_prompt, "validation example")
    settings = {"options": options.model_dump(), "prompt": prompt.model_dump(), "lora": [lora_rank, lora_alpha]}
    identity = fingerprint(model, encoded, settings)
    if is_finished(output_dir, identity):
        return output_dir

    device = training_device(device)
    model.to(device)
    lengths = [len(p) + len(c) for p, c in encoded]
    plan = batch_plan(lengths, options)
    figures: dict[str, float] = {
        "examples": len(encoded),
        "steps": len(plan),
        "tokens": sum(lengths[i] for b in plan for i in b),
    }
    if held_out:
        figures["validation_loss_before"] = completion_loss(model, held_out, options.batch_tokens)
    plain_head = has_plain_head(model)
    trainer = _SFTTrainer(
        with_lora(model, lora_rank, lora_alpha, "CAUSAL_LM", options.seed) if lora_rank else model,
        training_arguments(options, checkpoints_folder(output_dir), device, len(plan), launch=launch),
        encoded,
        plan,
        collate,
        lengths,
        Sizes(lengths),
        options.micro_batch_tokens,
        progress,
        "supervised fine-tuning",
        "sft",
    )
    trainer.plain_head = plain_head
    figures |= trainer.run()
    trained = trainer.trained()
    if held_out:
        figures["validation_loss"] = processes.on_main(
            lambda: completion_loss(trained.to(device), held_out, options.batch_tokens)
        )

    def save(folder: Path) -> None:
        trained.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    save_finished(output_dir, save, identity, figures)
    progress.finish(**figures)
    return output_dir


def sft_figures(output_dir: str | Path) -> dict[str, float]:
    """The figures of a finished fine-tuning (see `train_sft`)."""
    figures: dict[str, float] = json.loads((Path(output_dir) / SUMMARY).read_text(encoding="utf-8"))["figures"]
    return figures


def encode_examples(
    examples: Sequence[Texts],
    tokenizer: Any,
    prompt: PromptOptions,
    limit: int,
    truncate_prompt: bool,
    name: str = "example",
) -> list[Example]:
    """Token ids of each example, at most `limit` tokens.

    Raises:
        DataError: an example's completion is empty, no token precedes it, or the example is too long; names its index.
    """
    encoded: list[Example] = []
    for index, (before, completion, *language) in enumerate(examples):
        where = f"{name} {index}"
        if not completion.strip():
            raise DataError(f"{where} has an empty completion: leave it out")
        prompt_ids = encode_prompt(tokenizer, before, prompt)
        if not prompt_ids:
            raise DataError(
                f"{where} has an empty prompt, and the tokenizer has no begin-of-sequence token: leave it out"
            )
        completion_ids = encode_completion(tokenizer, completion, prompt, True, *language)
        encoded.append(fit_tokens(prompt_ids, completion_ids, limit, truncate_prompt, tokenizer.bos_token_id, where))
    return encoded


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """The tensors of a batch.

    Returns:
        `input_ids` `[rows, tokens]` without each row's last token, which nothing is predicted from; `positions`
        `[targets]`, where in the flattened rows each completion token is predicted; `targets` `[targets]`.
    """
    input_ids = padded([[*prompt, *completion[:-1]] for prompt, completion in examples], pad=0)
    width = input_ids.shape[1]
    positions = [
        row * width + column
        for row, (prompt, completion) in enumerate(examples)
        for column in range(len(prompt) - 1, len(prompt) + len(completion) - 1)
    ]
    targets = [token for _, completion in examples for token in completion]
    return {"input_ids": input_ids, "positions": torch.tensor(positions), "targets": torch.tensor(targets)}


def target_logits(model: Any, input_ids: torch.Tensor, positions: torch.Tensor, plain_head: bool) -> torch.Tensor:
    """float32 logits `[targets, vocabulary]` at `positions` of the flattened rows.

    Args:
        plain_head: the model's logits are its output embedding applied to the last hidden states (see
            `has_plain_head`), so that only those asked for need to be computed.
    """
    if not plain_head:
        logits = plain_model(model)(input_ids=input_ids, use_cache=False).logits
        return logits.flatten(0, 1)[positions].float()
    hidden = hidden_states(model, input_ids).flatten(0, 1)[positions]
    return plain_model(model).get_output_embeddings()(hidden).float()


@torch.inference_mode()
def completion_loss(model: Any, examples: Sequence[Example], batch_tokens: int) -> float:
    """Mean negative log-likelihood, in nats per completion token (end token included)."""
    model.eval()
    plain_head = has_plain_head(model)
    total, count = 0.0, 0
    for indices in token_batches([len(p) + len(c) for p, c in examples], batch_tokens, 0, 0):
        batch = {name: tensor.to(model.device) for name, tensor in collate([examples[i] for i in indices]).items()}
        logits = target_logits(model, batch["input_ids"], batch["positions"], plain_head)
        total += float(F.cross_entropy(logits, batch["targets"], reduction="sum"))
        count += len(batch["targets"])
    return total / count


class _SFTTrainer(PlannedTrainer):
    plain_head: bool

    def counts(self, examples: Sequence[Example]) -> dict[str, int]:
        return {"targets": sum(len(completion) for _, completion in examples)}

    def batch_loss(
        self, model: Any, batch: dict[str, Any], whole: Mapping[str, int]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        logits = target_logits(model, batch["input_ids"], batch["positions"], self.plain_head)
        return F.cross_entropy(logits, batch["targets"], reduction="sum") / whole["targets"], {}
