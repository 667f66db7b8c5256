"""transformers' `Trainer` over planned batches, on one process or several, in micro-batches bounded by tokens.

Every process goes through the same steps with its part of each batch. A micro-batch's loss is its share of the whole
batch's (sums divided by the whole batch's counts), so gradients are those of one process with the batch in one piece,
up to the order in which numbers are added.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from rewardranker import processes
from rewardranker.config import LaunchOptions, TrainingOptions
from rewardranker.errors import ConfigError, RunDirectoryError, TrainingError
from rewardranker.runs import write_json, write_text
from rewardranker.training import wrapping, zero_shards
from rewardranker.training.batches import Sizes, divided
from rewardranker.training.faults import faults_named, is_out_of_memory, overflow_advice
from rewardranker.training.finished import MARKER, METRICS, last_checkpoint, model_folder
from rewardranker.training.models import quiet_transformers, training_device
from rewardranker.training.trackers import check_trackers, naming, tensorboard_folder, tensorboard_in, tracked

Counts = Mapping[str, int]
_WINDOW = 20  # steps that the reported figures are averaged over


def training_arguments(
    options: TrainingOptions,
    folder: str | Path,
    device: str,
    steps: int,
    *,
    bf16: bool = False,
    launch: LaunchOptions | None = None,
) -> TrainingArguments:
    """transformers' arguments for a planned training of `steps` steps with checkpoints in `folder`.

    Args:
        bf16: bfloat16 autocast of the forward pass (the weights keep their precision).
        launch: trackers, checkpoints kept, steps between logged figures.
    """
    launch = launch or LaunchOptions()
    warmup = int(options.warmup_share * steps)
    schedules = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
    on_cpu = training_device(device) == "cpu"
    processes.join("cpu" if on_cpu else "cuda")
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
        use_cpu=on_cpu,
        save_strategy="steps",
        save_steps=options.save_steps,
        save_total_limit=launch.checkpoints_kept,
        logging_steps=launch.log_steps,
        logging_nan_inf_filter=False,
        report_to=list(launch.report_to),
        **naming(model_folder(Path(folder))),
        disable_tqdm=True,
        seed=options.seed,
        data_seed=options.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        ddp_timeout=7200,
    )
    if on_cpu and processes.kind() == "fsdp":
        # accelerate shards on accelerators only; torch's FSDP2 works on CPUs as well, over gloo.
        from accelerate.utils import DistributedType

        arguments.distributed_state.distributed_type = DistributedType.MULTI_GPU
    arguments._n_gpu = min(arguments.n_gpu, 1)  # with more visible, Trainer would split every batch among them
    return arguments


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
        sizes: Sizes,
        micro_batch_tokens: int | str | None,
        progress: Any,
        name: str,
        key: str,
    ) -> None:
        """
        Args:
            plan: indices into `examples` of each step's batch.
            collate: the tensors of a batch.
            tokens: tokens of each example, for the figure tokens/s.
            sizes: what each example costs, as the plan was made with.
            micro_batch_tokens: see `TrainingOptions`.
            name: the step's name in `progress` and in errors.
            key: the recipe's section, for errors.

        Raises:
            ConfigError: `micro_batch_tokens` is `auto` where the model is sharded.
        """
        self._report = _Report(progress, name, [sum(tokens[i] for i in batch) for batch in plan])
        self._examples, self._plan, self._collate, self._sizes = examples, plan, collate, sizes
        self._name, self._key = name, key
        self._finding = micro_batch_tokens == "auto"
        self._micro = None if micro_batch_tokens == "auto" or micro_batch_tokens is None else int(micro_batch_tokens)
        if self._finding and processes.kind() in ("fsdp", "deepspeed"):
            raise ConfigError(
                f"{key}.micro_batch_tokens=auto can't be found where the model is sharded (launched with "
                f"{processes.kind()}): give a number"
            )
        self._whole = wrapping.keep_whole(model)
        check_trackers(arguments.report_to)
        with tensorboard_in(tensorboard_folder(model_folder(Path(arguments.output_dir)))):
            super().__init__(model=model, args=arguments, train_dataset=examples, callbacks=[self._report])
        self.remove_callback(PrinterCallback)  # standard output is for results

    # --- what subclasses define ---------------------------------------------------------------------------------

    def counts(self, examples: Sequence[Any]) -> dict[str, int]:
        """What the losses of a batch of these examples are means over, such as its tokens."""
        raise NotImplementedError(f"{type(self).__name__} does not define counts")

    def batch_loss(self, model: Any, batch: dict[str, Any], whole: Counts) -> tuple[torch.Tensor, dict[str, float]]:
        """A micro-batch's share of the loss (a scalar) and of the figures to show with it.

        Args:
            whole: `counts` of all examples of the step, on all processes: sums divided by them add up to the step's
                means, however it is divided.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define batch_loss")

    # --- a step -------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> Any:
        steps = [[step] for step in range(len(self._plan))]
        return DataLoader(range(len(self._plan)), batch_sampler=steps, collate_fn=lambda step: {"step": step[0]})

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # transformers' estimate reads a batch's tensors, which are made later here

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        batch = self._plan[inputs["step"]]
        totals = self._accumulate_found(model, batch) if self._finding else self._accumulate(model, batch, True)
        loss = totals.pop("loss")
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self._name}: the loss became {loss} at step {self.state.global_step + 1} of {self.state.max_steps} "
                f"(learning rate {self._get_learning_rate():.3g}): lower learning_rate (it is "
                f"{self.args.learning_rate:.3g}), raise warmup_share or lower max_grad_norm (it is "
                f"{self.args.max_grad_norm:.3g}){overflow_advice(next(model.parameters()).dtype)}"
            )
        self._report.add(loss=loss, **totals)
        return torch.tensor(loss, device=self.args.device)

    def _accumulate(self, model: Any, batch: Sequence[int], exchange: bool) -> dict[str, float]:
        """Forward and backward passes of a batch: its gradients are added up, its figures returned.

        Args:
            exchange: average gradients over processes in the last backward pass; else each process keeps its own.
        """
        bare = self.accelerator.unwrap_model(model)
        size = processes.world_size()
        whole = self.counts([self._examples[i] for i in batch])
        parts = divided(batch, self._sizes, size, self._micro)[processes.rank()]
        totals: dict[str, float] = defaultdict(float)
        for number, items in enumerate(parts):
            # A process without examples goes along with one that counts nothing: sharded weights are gathered by all.
            tensors = self._prepare_inputs(self._collate([self._examples[i] for i in items or batch[:1]]))
            last = number == len(parts) - 1
            self.accelerator.gradient_state._set_sync_gradients(last)
            with self._local_gradients(model, exchange and last), self.compute_loss_context_manager():
                loss, figures = wrapping.inside(model, bare, partial(self.batch_loss, bare, tensors, whole))
                weight = float(bool(items))
                # The wrappers average over processes; what is wanted is the sum of their shares.
                self.accelerator.backward(loss * weight * (size if exchange else 1), **self._backward_arguments())
            for name, value in {"loss": float(loss.detach()), **figures}.items():
                totals[name] += weight * value
        values = processes.summed(torch.tensor(list(totals.values()), dtype=torch.float64, device=self.args.device))
        return dict(zip(totals, values.tolist(), strict=True))

    def _local_gradients(self, model: Any, exchange: bool) -> contextlib.AbstractContextManager[None]:
        """Without exchange between processes, where the model is not sharded (then every pass has to)."""
        if exchange or processes.kind() != "ddp":
            return contextlib.nullcontext()
        return model.no_sync()

    def _backward_arguments(self) -> dict[str, bool]:
        return {"scale_wrt_gas": False} if processes.kind() == "deepspeed" else {}

    def _accumulate_found(self, model: Any, batch: Sequence[int]) -> dict[str, float]:
        """`_accumulate` with micro-batches halved until they fit on every process."""
        while True:
            totals: dict[str, float] = {}
            failure: Exception | None = None
            try:
                totals = self._accumulate(model, batch, False)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = error
            largest = max(self._sizes.cost(item) for item in batch)
            if all(processes.gathered([failure is None])):
                processes.sum_gradients([p for p in model.parameters() if p.requires_grad])
                return totals
            if self._micro is not None and self._micro <= min(self._sizes.lengths[item] for item in batch):
                raise failure or TrainingError(f"{self._name}: another process is out of memory, see its message")
            self._micro = (self._micro or max(largest, self._batch_cost(batch))) // 2
            self._report.note(micro_batch_tokens=self._micro)
            model.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _batch_cost(self, batch: Sequence[int]) -> int:
        return sum(map(self._sizes.rows_of, batch)) * max(self._sizes.lengths[item] for item in batch)

    # --- the whole ----------------------------------------------------------------------------------------------

    def run(self) -> dict[str, float]:
        """Train, from the last complete checkpoint where there is one; the figures are means of the last steps.

        Raises:
            TrainingError: the loss or the weights are not finite, or memory ran out.
            ModelError: this build of PyTorch has no code for this GPU.
            ProcessError: another process of the launch has died.
            RunDirectoryError: the disk is full.
            ConfigError: a tracker refuses to work.
        """
        folder = Path(self.args.output_dir)
        checkpoint = processes.from_main(last_checkpoint(folder) if processes.is_main() else None)
        if checkpoint is not None:
            marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
            self._report.restore(marker["recent"])
            _check_readable(checkpoint, marker)
        lower = f"{self._key}.micro_batch_tokens" + (f" (now {self._micro})" if self._micro else "")
        faults = faults_named(self._name, f"{lower}, or set it to auto", folder)
        with faults, quiet_transformers(), tracked(self.args.report_to), zero_shards.for_any_launch():
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(wrapping.local(parameter)).all():
                raise TrainingError(f"{self._name}: {name} is not finite after the last step: lower learning_rate")
        self.model.eval()
        return self._report.figures()

    def trained(self) -> Any:
        """The trained model, whole and without adapters; where it was sharded, None but on the main process."""
        bare = self.accelerator.unwrap_model(self.model)
        return wrapping.put_together(self.accelerator, self.model_wrapped, bare, self._whole)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        # transformers closes with a summary of its own, at a step that has been logged already.
        super().log(logs if "train_runtime" in logs else {**self._report.figures(), **logs}, start_time)


class _Report(TrainerCallback):
    """Progress of a training, its figures as JSON Lines, and the mark that makes a checkpoint complete."""

    def __init__(self, progress: Any, name: str, tokens: Sequence[int]) -> None:
        self._progress, self._name = progress, name
        self._tokens = np.cumsum([0, *tokens])
        self._recent: dict[str, deque[float]] = {}
        self._notes: dict[str, float] = {}

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self._recent.setdefault(name, deque(maxlen=_WINDOW)).append(value)

    def note(self, **notes: float) -> None:
        """Figures to show as they are."""
        self._notes |= notes

    def restore(self, recent: Mapping[str, Sequence[float]]) -> None:
        self._recent = {name: deque(values, maxlen=_WINDOW) for name, values in recent.items()}

    def figures(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self._recent.items()} | self._notes

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first, self._begun = state.global_step, time.monotonic()
        self._progress.start(self._name, state.max_steps, "steps", state.global_step)
        if state.is_world_process_zero:  # what was logged after the checkpoint will be logged again
            write_text(Path(args.output_dir) / METRICS, "".join(json.dumps(row) + "\n" for row in state.log_history))

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        seen = self._tokens[state.global_step] - self._tokens[self._first]
        speed = float(seen) / max(time.monotonic() - self._begun, 1e-9)
        rate = float(parts["lr_scheduler"].get_last_lr()[0])
        self._progress.update(state.global_step, **self.figures(), learning_rate=rate, tokens_per_s=round(speed))

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        row = state.log_history[-1]
        # transformers closes with a summary since the last start: after a kill it would tell of a part alone.
        if state.is_world_process_zero and "train_runtime" not in row:
            with (Path(args.output_dir) / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file in _files_of_this_process(folder):
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        processes.barrier()  # a checkpoint is complete when every process has written its part
        if processes.is_main():
            recent = {name: list(values) for name, values in self._recent.items()}
            launch = {"kind": _format(), "processes": processes.world_size()}
            write_json(folder / MARKER, {"step": state.global_step, "recent": recent, **launch})
        processes.barrier()


def _format() -> str:
    """How checkpoints of this launch are written: a model in one piece, or in the shards of FSDP or DeepSpeed."""
    return "whole" if processes.kind() in ("single", "ddp") else processes.kind()


def _check_readable(checkpoint: Path, marker: Mapping[str, Any]) -> None:
    """
    Raises:
        RunDirectoryError: this launch can't read the checkpoint, though another can.
    """
    written = marker.get("kind", "whole")
    names = {"whole": "single or ddp", "fsdp": "fsdp", "deepspeed": "zero2 or zero3"}
    if written != _format():
        raise RunDirectoryError(
            f"{checkpoint} was written by a launch with --config-name {names[written]}, which one with "
            f"{names[_format()]} can't read: launch as before, or delete {checkpoint.parent} to start again"
        )


def _files_of_this_process(folder: Path) -> Iterator[Path]:
    """All files, where they are seen: fsync of another process's file on a shared filesystem is a no-op at worst."""
    return (file for file in folder.rglob("*") if file.is_file())
