"""Training of the reward model on preference groups."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from rewardranker import processes
from rewardranker.config import LaunchOptions, PromptOptions, RewardOptions
from rewardranker.errors import ModelError, TrainingError
from rewardranker.models import load_causal_lm
from rewardranker.progress import Silent
from rewardranker.reward.data import EncodedGroup, collate, encode_groups, states_of
from rewardranker.reward.losses import bradley_terry_loss, centering_penalty, listwise_loss, pairwise_accuracy
from rewardranker.reward.model import (
    RewardSettings,
    from_causal_lm,
    head_weight,
    load_reward_model,
    read_scores,
    save_reward_model,
)
from rewardranker.reward.ranker import RewardRanker
from rewardranker.shared_prompts import sharing_of
from rewardranker.training import (
    SUMMARY,
    PlannedTrainer,
    Sizes,
    batch_plan,
    checkpoints_folder,
    fingerprint,
    has_plain_head,
    is_finished,
    length_limit,
    plain_model,
    quiet_transformers,
    save_finished,
    token_batches,
    training_arguments,
    training_device,
    with_lora,
)
from rewardranker.types import PreferenceGroup, ProgressReporter


def train_reward(
    groups: Sequence[PreferenceGroup],
    model: Any,
    tokenizer: Any | None,
    options: RewardOptions,
    prompt: PromptOptions,
    output_dir: str | Path,
    *,
    validation_groups: Sequence[PreferenceGroup] | None = None,
    lora_rank: int = 0,
    lora_alpha: int = 32,
    dtype: str = "float32",
    progress: ProgressReporter | None = None,
    device: str = "auto",
    launch: LaunchOptions | None = None,
) -> RewardRanker:
    """Train a reward model; a batch holds whole groups, each candidate once for all its pairs, each prompt once.

    A group larger than `options.batch_tokens` is a batch of its own with all its candidates. A kill loses at most
    `options.save_steps` steps; a finished training is not repeated.

    Args:
        model: where the weights start: a causal language model (hub name, folder, or in memory: then it is copied),
            or the folder of a reward model, which must have the same pooling.
        tokenizer: of a model in memory; None: the one in the model's folder.
        validation_groups: held-out groups whose accuracy is measured before and after.
        lora_rank: above 0, train LoRA adapters of that rank and the head, and add them into the weights at the end.
        dtype: precision of the weights loaded from a causal language model; the head is float32.
        launch: trackers and checkpoints kept; the number of processes is the launch's own.

    Returns:
        The trained ranker, also stored in `output_dir` with `training.json`: the figures `loss`, `accuracy`
        (pairwise, on training batches), `score_correct`, `score_wrong` (means of the last steps), `groups`,
        `groups_left_out`, `candidates`, `pairs`, `steps`, and with validation groups `validation_accuracy`,
        `validation_loss` (both also `_before`).

    Raises:
        TrainingError: no group has both a correct and a wrong candidate, or the loss is not finite.
        DataError: a candidate is longer than `options.max_length`.
        ModelError: the start model does not load or does not fit.
        RunDirectoryError: the disk is full, or `output_dir` holds another training's model.
    """
    output_dir, progress = Path(output_dir), progress or Silent()
    start, tokenizer, lm_head = _start_model(model, tokenizer, options, dtype)
    limit = length_limit(options.max_length, start)
    encoded = encode_groups(groups, tokenizer, prompt, limit, options.truncate_prompt)
    held_out = encode_groups(validation_groups or (), tokenizer, prompt, limit, options.truncate_prompt)
    if not encoded:
        raise TrainingError(
            f"none of {len(groups)} groups has both a correct and a wrong candidate: sample more programs for each "
            "task, or at a higher temperature, or give easier or harder tasks"
        )
    settings = {"options": options.model_dump(), "prompt": prompt.model_dump(), "lora": [lora_rank, lora_alpha]}
    identity = fingerprint(start, encoded, settings)
    if is_finished(output_dir, identity):
        return RewardRanker.from_pretrained(output_dir, device)

    device = training_device(device)
    start.to(device)
    rows = [len(group.rows) for group in encoded]
    lengths = [group.longest for group in encoded]
    plan = batch_plan(lengths, options, rows)
    figures: dict[str, float] = {
        "groups": len(encoded),
        "groups_left_out": len(groups) - len(encoded),
        "candidates": sum(rows),
        "pairs": sum(group.pairs for group in groups),
        "steps": len(plan),
    }
    if held_out:
        before = evaluate_groups(start, held_out, options)
        figures |= {f"validation_{name}_before": value for name, value in before.items()}
    trainer = _RewardTrainer(
        with_lora(start, lora_rank, lora_alpha, "SEQ_CLS", options.seed) if lora_rank else start,
        training_arguments(options, checkpoints_folder(output_dir), device, len(plan), launch=launch),
        encoded,
        plan,
        partial(collate, sharing=sharing_of(start)),
        [sum(map(len, group.rows)) for group in encoded],
        Sizes(lengths, rows),
        options.micro_batch_tokens,
        progress,
        "reward model",
        "reward",
    )
    trainer.options, trainer.lm_head = options, lm_head
    figures |= trainer.run()
    trained = trainer.trained()
    if held_out:
        after = processes.on_main(lambda: evaluate_groups(trained.to(device), held_out, options))
        figures |= {f"validation_{name}": value for name, value in after.items()}
    kept = RewardSettings(
        pooling=options.pooling, prompt=prompt, max_length=limit, truncate_prompt=options.truncate_prompt
    )
    save_finished(output_dir, lambda folder: save_reward_model(trained, tokenizer, kept, folder), identity, figures)
    progress.finish(**figures)
    return RewardRanker.from_pretrained(output_dir, device)


def reward_figures(output_dir: str | Path) -> dict[str, float]:
    """The figures of a finished training (see `train_reward`)."""
    figures: dict[str, float] = json.loads((Path(output_dir) / SUMMARY).read_text(encoding="utf-8"))["figures"]
    return figures


def preference_loss(scores: torch.Tensor, batch: dict[str, torch.Tensor], options: RewardOptions) -> torch.Tensor:
    """The preference part of the loss that `options` ask for."""
    passed, sizes = batch["passed"], batch["sizes"]
    if options.loss == "listwise":
        loss = listwise_loss(scores, passed, sizes)
    else:
        loss = bradley_terry_loss(scores, passed, sizes, batch["fraction"], options.fraction_margin)
    if options.centering:
        loss = loss + options.centering * centering_penalty(scores, sizes)
    return loss


@torch.inference_mode()
def evaluate_groups(model: Any, groups: Sequence[EncodedGroup], options: RewardOptions) -> dict[str, float]:
    """`accuracy` (pairwise) and `loss` on whole groups, each group weighing the same."""
    model.eval()
    rows = [len(group.rows) for group in groups]
    totals = {"accuracy": 0.0, "loss": 0.0}
    for indices in token_batches([group.longest for group in groups], options.batch_tokens, 0, 0, rows):
        tensors = collate([groups[i] for i in indices], sharing_of(model))
        batch = {name: tensor.to(model.device) for name, tensor in tensors.items()}
        scores = _scores(model, states_of(model, batch), batch, options)
        accuracy = pairwise_accuracy(scores, batch["passed"], batch["sizes"])
        totals["accuracy"] += float(accuracy) * len(indices)
        totals["loss"] += float(preference_loss(scores, batch, options)) * len(indices)
    return {name: total / len(groups) for name, total in totals.items()}


def _scores(model: Any, states: torch.Tensor, batch: dict[str, torch.Tensor], options: RewardOptions) -> torch.Tensor:
    return read_scores(states, head_weight(model), batch["places"], batch["starts"], batch["ends"], options.pooling)


class _RewardTrainer(PlannedTrainer):
    options: RewardOptions
    lm_head: torch.Tensor | None

    def counts(self, examples: Sequence[EncodedGroup]) -> dict[str, int]:
        correct = sum(sum(group.passed) for group in examples)
        return {
            "groups": len(examples),
            "correct": correct,
            "wrong": sum(len(group.rows) for group in examples) - correct,
            "lm_tokens": sum(
                len(row) - max(start, 1)
                for group in examples
                for row, start, passed in zip(group.rows, group.starts, group.passed, strict=True)
                if passed
            ),
        }

    def batch_loss(
        self, model: Any, batch: dict[str, Any], whole: Mapping[str, int]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        states = states_of(model, batch)
        scores = _scores(model, states, batch, self.options)
        share = len(batch["sizes"]) / whole["groups"]  # every group weighs the same, in whichever micro-batch it is
        loss = preference_loss(scores, batch, self.options) * share
        if self.options.lm_weight:
            loss = loss + self.options.lm_weight * self._lm_loss(model, states, batch) / max(whole["lm_tokens"], 1)
        passed = batch["passed"]
        with torch.no_grad():
            accuracy = pairwise_accuracy(scores, passed, batch["sizes"]) * share
            sums = [accuracy, scores[passed].sum() / whole["correct"], scores[~passed].sum() / whole["wrong"]]
            figures = torch.stack(sums).tolist()
        return loss, dict(zip(["accuracy", "score_correct", "score_wrong"], figures, strict=True))

    def _lm_loss(self, model: Any, states: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """Negative log-likelihood of the tokens of correct programs, summed.

        Keeps the hidden states those of a language model, which a reward model generalises better from (Yang et al.
        2024, arXiv 2406.10216). The output embedding is the input embedding where the model ties them (and trained
        with it), else the language model's own, held fixed.
        """
        places = batch["places"]
        column = torch.arange(1, places.shape[1], device=places.device)  # the token that each state predicts
        inside = (column >= batch["starts"].clamp(min=1)[:, None]) & (column < batch["ends"][:, None])
        inside &= batch["passed"][:, None]
        weight = self.lm_head
        if weight is None:
            weight = plain_model(model).get_input_embeddings().weight
        logits = F.linear(states[places[:, :-1][inside]], weight.to(states.device)).float()
        return F.cross_entropy(logits, batch["input_ids"].flatten()[places[:, 1:][inside]], reduction="sum")


def _start_model(
    model: Any, tokenizer: Any | None, options: RewardOptions, dtype: str
) -> tuple[Any, Any, torch.Tensor | None]:
    """The reward model to train, its tokenizer, and the language-model head where a regulariser needs an untied one."""
    if isinstance(model, str | Path):
        if _is_reward_folder(Path(model)):
            start, own, settings = load_reward_model(model)
            if settings.pooling != options.pooling:
                raise ModelError(
                    f"{model} pools '{settings.pooling}' but reward.pooling is '{options.pooling}': set it to "
                    f"{settings.pooling}, or start from a causal language model"
                )
            if options.lm_weight and not start.config.tie_word_embeddings:
                raise ModelError(
                    f"reward.lm_weight needs a language-model head, which {model} has not: start from a causal "
                    "language model, or set reward.lm_weight=0"
                )
            return start, tokenizer or own, None
        with quiet_transformers():
            causal, own = load_causal_lm(str(model), dtype)
        tokenizer = tokenizer or own
    else:
        if tokenizer is None:
            raise ModelError("a model in memory needs its tokenizer")
        causal = copy.deepcopy(model)
    if options.lm_weight and not has_plain_head(causal):
        raise ModelError(f"reward.lm_weight does not know how {type(causal).__name__} scales its logits: set it to 0")
    lm_head = None
    if options.lm_weight and not causal.config.tie_word_embeddings:
        lm_head = causal.get_output_embeddings().weight.detach().clone()
    return from_causal_lm(causal, tokenizer, options.seed), tokenizer, lm_head


def _is_reward_folder(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.exists():
        return False
    names = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    return any(name == "RewardRanker" or name.endswith("ForSequenceClassification") for name in names)
