"""Training on top of transformers' `Trainer`: batches filled by tokens, progress, checkpoints that survive a kill.

The order of all batches is planned before the first step, so a training that was killed goes on from its last
complete checkpoint with the batches that an undisturbed run would have seen, and ends with the same weights bit for
bit on the same machine, thread count and library versions.

Not guaranteed: equal weights across machines, thread counts or devices; more than one process or GPU.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from rewardranker.config import TrainingOptions
from rewardranker.errors import DataError, MissingExtraError, ModelError, RunDirectoryError, TrainingError
from rewardranker.models import choose_device
from rewardranker.runs import recover_folder, replacing_folder, write_json
from rewardranker.types import ProgressReporter

MARKER = "complete.json"
"""Written into a checkpoint after everything else in it is on disk: a checkpoint without it is not one."""
SUMMARY = "training.json"
"""In the folder of a finished model: what was trained, and its figures."""
_BUCKET_BATCHES = 50  # examples are sorted by length within so many batches: little padding, still well mixed
_WINDOW = 20  # steps that the reported figures are averaged over


# --- examples ---------------------------------------------------------------------------------------------------


def fit_tokens(
    prompt: Sequence[int], completion: Sequence[int], limit: int, truncate: bool, bos: int | None, where: str
) -> tuple[list[int], list[int]]:
    """Prompt and completion of at most `limit` tokens together (see `length_limit`); only the prompt's start is cut.

    A begin-of-sequence token at the prompt's start stays; at least one token of the prompt does.

    Raises:
        DataError: too long and `truncate` is off, or the completion alone does not fit; says where, and the remedy.
    """
    length = len(prompt) + len(completion)
    if length <= limit:
        return list(prompt), list(completion)
    if not truncate:
        raise DataError(
            f"{where} has {length} tokens, more than the limit of {limit} (max_length, or the model's positions): "
            "raise max_length, leave it out, or set truncate_prompt=true to cut the start of its prompt"
        )
    room = limit - len(completion)
    if room < 1:
        raise DataError(
            f"{where}: the program alone has {len(completion)} tokens, which leaves no room for its prompt in the "
            f"limit of {limit} (max_length, or the model's positions): raise max_length or leave it out (programs are "
            "never cut)"
        )
    if bos is not None and prompt[0] == bos and room > 1:
        return [bos, *prompt[len(prompt) - room + 1 :]], list(completion)
    return list(prompt[len(prompt) - room :]), list(completion)


def length_limit(max_length: int, model: Any) -> int:
    """`max_length`, or fewer where the model has fewer positions."""
    return min(max_length, getattr(model.config, "max_position_embeddings", None) or max_length)


def padded(sequences: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    """int64 `[len(sequences), longest]`, padded on the right, where causal attention never reads it."""
    longest = max(map(len, sequences))
    return torch.tensor([[*sequence, *[pad] * (longest - len(sequence))] for sequence in sequences])


# --- batches ----------------------------------------------------------------------------------------------------


def token_batches(
    lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int, rows: Sequence[int] | None = None
) -> list[list[int]]:
    """One pass over all items, in shuffled batches of items of like length.

    Args:
        lengths: tokens of each item's longest row.
        batch_tokens: bound on a batch's rows times its longest row, padding included. An item above it is a batch of
            its own.
        rows: rows of each item (candidates of a group); None: one each.

    Returns:
        Item indices of each batch; the same for the same arguments on every machine.
    """
    if not lengths:
        return []
    rows = rows or [1] * len(lengths)
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    sizes = np.asarray(lengths, dtype=np.int64)
    bucket = np.cumsum((sizes * np.asarray(rows))[order]) // (_BUCKET_BATCHES * batch_tokens)
    batches: list[list[int]] = [[]]
    filled = longest = 0
    for number in np.unique(bucket):
        members = order[bucket == number]
        members = members[np.argsort(sizes[members], kind="stable")]
        # Every other bucket runs from long to short, so that the batch open at its end goes on with like lengths.
        for item in (members if number % 2 == 0 else members[::-1]).tolist():
            if batches[-1] and (filled + rows[item]) * max(longest, lengths[item]) > batch_tokens:
                batches.append([])
                filled = longest = 0
            batches[-1].append(item)
            filled += rows[item]
            longest = max(longest, lengths[item])
    generator.shuffle(batches)
    return batches


def batch_plan(lengths: Sequence[int], options: TrainingOptions, rows: Sequence[int] | None = None) -> list[list[int]]:
    """The batches of a whole training in order; of a fractional last epoch that share of batches, at least one."""
    plan: list[list[int]] = []
    for epoch in range(math.ceil(options.epochs)):
        batches = token_batches(lengths, options.batch_tokens, options.seed, epoch, rows)
        share = min(1.0, options.epochs - epoch)
        plan += batches[: max(1, round(len(batches) * share))]
    return plan


# --- models -----------------------------------------------------------------------------------------------------


def plain_model(model: Any) -> Any:
    """The transformers model itself, from inside LoRA's wrapper where there is one."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def hidden_states(model: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """Last hidden states `[rows, tokens, hidden]` of right-padded rows.

    No attention mask is given: in a causal model no token reads what stands to its right, so padding there changes
    nothing, and attention without a mask takes the faster kernels.
    """
    return plain_model(model).base_model(input_ids=input_ids, use_cache=False).last_hidden_state


@torch.inference_mode()
def has_plain_head(model: Any) -> bool:
    """Whether the logits are the output embedding of the last hidden states, without scaling or soft caps."""
    training = model.training
    model.eval()
    ids = torch.arange(4, device=model.device)[None]
    plain = plain_model(model)
    expected = plain(input_ids=ids, use_cache=False).logits.float()
    found = plain.get_output_embeddings()(hidden_states(model, ids)).float()
    model.train(training)
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def with_lora(model: Any, rank: int, alpha: int, task: Literal["CAUSAL_LM", "SEQ_CLS"], seed: int) -> Any:
    """`model` with LoRA adapters (Hu et al. 2021) on all linear layers; a score head stays fully trained.

    The adapters are float32 whatever the precision of the weights below, so that no update is lost in rounding. They
    are drawn from `seed` alone: a training that is started again before its first checkpoint begins as before.

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("peft", "lora") from None
    head = ["score"] if task == "SEQ_CLS" else None
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type=task, modules_to_save=head)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def merged(model: Any) -> Any:
    """The plain model with its LoRA adapters added into the weights; a model without any as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def training_device(device: str) -> str:
    """`auto` resolved; a training runs on the CPU or on the first visible GPU.

    Raises:
        ModelError: another device.
    """
    device = choose_device(device)
    if device not in ("cpu", "cuda", "cuda:0"):
        raise ModelError(f"training can't use device {device}: set CUDA_VISIBLE_DEVICES to it and launch.device=cuda")
    return device


def training_arguments(
    options: TrainingOptions,
    folder: str | Path,
    device: str,
    steps: int,
    *,
    bf16: bool = False,
    report_to: Sequence[str] = (),
) -> TrainingArguments:
    """transformers' arguments for a planned training of `steps` steps with checkpoints in `folder`.

    Args:
        bf16: bfloat16 autocast of the forward pass (the weights keep their precision).
        report_to: transformers' trackers, such as `tensorboard`; none by default.
    """
    warmup = int(options.warmup_share * steps)
    schedules = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the plan holds all passes
        per_device_train_batch_size=1,
        learning_rate=options.learning_rate,
        lr_scheduler_type=schedules[options.schedule],
        warmup_steps=warmup if warmup > 1 else 0,  # the first step of a warmup has rate 0: one alone would be lost
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=bf16,
        use_cpu=training_device(device) == "cpu",
        save_strategy="steps",
        save_steps=options.save_steps,
        save_total_limit=2,
        logging_steps=10,
        logging_nan_inf_filter=False,
        report_to=list(report_to),
        disable_tqdm=True,
        seed=options.seed,
        data_seed=options.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    if arguments.world_size > 1:
        raise TrainingError(
            f"{arguments.world_size} processes were launched, but a training uses one: start it without torchrun"
        )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # with more visible, Trainer would split every batch among them
    return arguments


# --- the trainer ------------------------------------------------------------------------------------------------


class PlannedTrainer(Trainer):
    """transformers' `Trainer` over planned batches. Subclasses say what the loss of a batch is."""

    def __init__(
        self,
        model: Any,
        arguments: TrainingArguments,
        examples: Sequence[Any],
        plan: Sequence[Sequence[int]],
        collate: Callable[[list[Any]], dict[str, Any]],
        tokens: Sequence[int],
        progress: ProgressReporter,
        name: str,
    ) -> None:
        """
        Args:
            plan: indices into `examples` of each step's batch.
            collate: the tensors of a batch.
            tokens: tokens of each example, for the figure tokens/s.
            name: the step's name in `progress` and in errors.
        """
        self._report = _Report(progress, name, [sum(tokens[i] for i in batch) for batch in plan])
        self._plan, self._collate, self._name = plan, collate, name
        super().__init__(model=model, args=arguments, train_dataset=examples, callbacks=[self._report])
        self.remove_callback(PrinterCallback)  # standard output is for results

    def batch_loss(self, model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss (a scalar) of a batch, and figures to show with it. Abstract: every training defines its own."""
        raise NotImplementedError(f"{type(self).__name__} does not define batch_loss")

    def get_train_dataloader(self) -> Any:
        loader = DataLoader(self.train_dataset, batch_sampler=self._plan, collate_fn=self._collate)
        return self.accelerator.prepare(loader)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        loss, figures = self.batch_loss(model, inputs)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"{self._name}: the loss became {value} at step {self.state.global_step + 1} of {self.state.max_steps} "
                f"(learning rate {self._get_learning_rate():.3g}): lower learning_rate (it is "
                f"{self.args.learning_rate:.3g}), raise warmup_share or lower max_grad_norm (it is "
                f"{self.args.max_grad_norm:.3g})"
            )
        self._report.add(loss=value, **figures)
        return loss

    def run(self) -> dict[str, float]:
        """Train, from the last complete checkpoint where there is one; the figures are means of the last steps.

        Raises:
            TrainingError: the loss or the weights are not finite.
            RunDirectoryError: the disk is full.
        """
        folder = Path(self.args.output_dir)
        checkpoint = last_checkpoint(folder)
        if checkpoint is not None:
            self._report.restore(json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["recent"])
        with full_disk_named(folder), quiet_transformers():
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrainingError(f"{self._name}: {name} is not finite after the last step: lower learning_rate")
        self.model.eval()
        return self._report.figures()


class _Report(TrainerCallback):
    """Progress of a training, and the mark that makes a checkpoint complete."""

    def __init__(self, progress: ProgressReporter, name: str, tokens: Sequence[int]) -> None:
        self._progress, self._name = progress, name
        self._tokens = np.cumsum([0, *tokens])
        self._recent: dict[str, deque[float]] = {}

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self._recent.setdefault(name, deque(maxlen=_WINDOW)).append(value)

    def restore(self, recent: Mapping[str, Sequence[float]]) -> None:
        self._recent = {name: deque(values, maxlen=_WINDOW) for name, values in recent.items()}

    def figures(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self._recent.items()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first, self._begun = state.global_step, time.monotonic()
        self._progress.start(self._name, state.max_steps, "steps", state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        seen = self._tokens[state.global_step] - self._tokens[self._first]
        speed = float(seen) / max(time.monotonic() - self._begun, 1e-9)
        rate = float(parts["lr_scheduler"].get_last_lr()[0])
        self._progress.update(state.global_step, **self.figures(), learning_rate=rate, tokens_per_s=round(speed))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file in folder.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        recent = {name: list(values) for name, values in self._recent.items()}
        write_json(folder / MARKER, {"step": state.global_step, "recent": recent})


def last_checkpoint(folder: Path) -> Path | None:
    """The latest complete checkpoint; those that a kill left incomplete are deleted."""
    steps: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / MARKER).exists() and (path / "trainer_state.json").exists():
            steps[int(path.name.removeprefix("checkpoint-"))] = path
        else:
            shutil.rmtree(path)
    return steps[max(steps)] if steps else None


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn what torch, safetensors and Python each raise on a full disk into a `RunDirectoryError`."""
    try:
        yield
    except Exception as error:
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        is_full = is_full or "No space left" in str(error) or "os error 28" in str(error)
        # torch.save tells no cause, but its zip writer (PytorchStreamWriter in inline_container.cc) has no other.
        is_full = is_full or "inline_container" in str(error) or "PytorchStreamWriter" in str(error)
        if not is_full:
            raise
        raise RunDirectoryError(
            f"no space left while writing a checkpoint in {folder}: free some, then give the same command again; it "
            "goes on from the last complete checkpoint"
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the bars, notes and warnings of transformers and peft, which say nothing to this package's users."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(transformers|peft)\.")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


# --- finished trainings -----------------------------------------------------------------------------------------


def checkpoints_folder(output_dir: Path) -> Path:
    """Where the checkpoints of a training live until its model stands in `output_dir`."""
    return output_dir.with_name(f"{output_dir.name}.checkpoints")


def fingerprint(model: Any, examples: Sequence[Any], options: Mapping[str, Any]) -> str:
    """What decides the outcome of a training: options, all examples, and the first weights of every tensor."""
    digest = sha256(json.dumps(options, sort_keys=True).encode())
    for example in examples:
        digest.update(repr(example).encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().flatten()[:16].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def is_finished(output_dir: Path, identity: str) -> bool:
    """True when the model of exactly this training stands in `output_dir` already; False when it is to be made.

    Raises:
        RunDirectoryError: the folder holds something else, or checkpoints of another training.
    """
    recover_folder(output_dir)
    remedy = "choose another output folder, or delete it"
    checkpoints = checkpoints_folder(output_dir)
    if output_dir.exists():
        summary = output_dir / SUMMARY
        if not summary.exists():
            if any(output_dir.iterdir()):
                raise RunDirectoryError(f"{output_dir} has files that are not from a training: {remedy}")
        else:
            if json.loads(summary.read_text(encoding="utf-8"))["identity"] != identity:
                raise RunDirectoryError(
                    f"{output_dir} holds a model trained on other data or with other options: {remedy}"
                )
            shutil.rmtree(checkpoints, ignore_errors=True)
            return True
    mark = checkpoints / "identity.json"
    if mark.exists():
        if json.loads(mark.read_text(encoding="utf-8")) != identity:
            raise RunDirectoryError(
                f"{checkpoints} belongs to a training on other data or with other options: {remedy}"
            )
    else:
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_json(mark, identity)
    return False


def save_finished(output_dir: Path, save: Callable[[Path], None], identity: str, figures: Mapping[str, Any]) -> None:
    """Let the model appear in `output_dir`, complete or not at all, then drop its checkpoints.

    Args:
        save: writes model and tokenizer into the folder it is given.
        figures: plain JSON values, kept beside the model in `training.json`.
    """
    with full_disk_named(output_dir), quiet_transformers(), replacing_folder(output_dir) as folder:
        save(folder)
        write_json(folder / SUMMARY, {"identity": identity, "figures": figures})
    shutil.rmtree(checkpoints_folder(output_dir), ignore_errors=True)
