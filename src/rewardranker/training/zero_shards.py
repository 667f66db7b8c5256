"""DeepSpeed's checkpoints for any number of processes and any ZeRO stage, whoever wrote them.

DeepSpeed reads a checkpoint on as many processes as wrote it. Its way out, "universal" checkpoints, are a second copy
on disk, made by a tool of its own, and give all parameters the weight decay of the first group where ZeRO-3 loads them.
Here nothing is converted: each process maps all shards into memory, puts each parameter's float32 weights and moments
together, one parameter after the other, and keeps its own part. Files are only read, so a kill loses nothing.

Guaranteed: weights, both moments, the count of steps and each group's rates are those of the checkpoint, or an error.
Not done: optimisers other than Adam, states on NVMe, pipeline and tensor parallel parts (no launch of ours has them); a
checkpoint of as many processes and the same stage is left to DeepSpeed. What is read are pickles, as in DeepSpeed's own
loading: a stranger's checkpoint may run code.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from rewardranker import processes
from rewardranker.errors import RunDirectoryError

WEIGHT, MOMENTS = "fp32", ("exp_avg", "exp_avg_sq")
_SHARD = re.compile(r"zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt$")


@contextlib.contextmanager
def for_any_launch() -> Iterator[None]:
    """Within, DeepSpeed's engines load checkpoints of other numbers of processes and stages too.

    Raises:
        RunDirectoryError: such a checkpoint lacks a part, is damaged, or is of another model or optimiser.
    """
    if processes.kind() != "deepspeed":
        yield
        return
    from deepspeed import DeepSpeedEngine

    own = DeepSpeedEngine.load_checkpoint

    def load_checkpoint(engine: Any, folder: str, *arguments: Any, **options: Any) -> Any:
        if _written_by(_counters(Path(folder))) == (processes.world_size(), int(engine.zero_optimization_stage())):
            return own(engine, folder, *arguments, **options)
        _fill(engine, Shards(Path(folder)))
        return folder, {}

    DeepSpeedEngine.load_checkpoint = load_checkpoint
    try:
        yield
    finally:
        DeepSpeedEngine.load_checkpoint = own


class Shards:
    """What all processes wrote of one checkpoint, mapped into memory: a tensor is read when it is asked for.

    Attributes:
        processes: how many wrote it.
        stage: of ZeRO, 1 to 3.
        counters: `global_steps` and what else DeepSpeed counts, and the names of weights.
        optimizer: what is the same in all shards: the groups' rates, the loss scale.
        step: Adam's count of steps.
    """

    def __init__(self, checkpoint: Path) -> None:
        """
        Args:
            checkpoint: the Trainer's folder, with DeepSpeed's file `latest` in it.

        Raises:
            RunDirectoryError: a process's part is missing or damaged, or it holds no moments of Adam.
        """
        self.checkpoint = checkpoint
        folder = _parts_folder(checkpoint)
        self.counters = _counters(checkpoint)
        self.processes, self.stage = _written_by(self.counters)
        files = {int(m[1]): path for path in folder.iterdir() if (m := _SHARD.search(path.name))}
        missing = sorted(set(range(self.processes)) - set(files))
        if missing:
            raise RunDirectoryError(
                f"{folder} lacks the part of process {missing[0]} of the {self.processes} that wrote it: every machine "
                "has to see all of it (a shared filesystem)" + _start_again(checkpoint)
            )
        parts = [_mapped(files[rank])["optimizer_state_dict"] for rank in range(self.processes)]
        self._pieces: dict[tuple[str, str], list[torch.Tensor]] = defaultdict(list)
        states = [part["optimizer_state_dict" if self.stage == 3 else "base_optimizer_state"] for part in parts]
        self.optimizer = {**parts[0], "groups": states[0]["param_groups"]}
        try:
            self.step = _only([state["step"] for rank in states for state in rank["state"].values()])
            for rank, (part, state) in enumerate(zip(parts, states, strict=True)):
                self._cut(rank, part, state["state"])
        except (KeyError, ValueError) as error:
            raise RunDirectoryError(
                f"{folder} has no complete state of Adam ({error}), so it can be read on {self.processes} processes "
                f"with ZeRO-{self.stage} alone: launch them" + _start_again(checkpoint)
            ) from error

    def _cut(self, rank: int, part: dict[str, Any], states: dict[int, dict[str, torch.Tensor]]) -> None:
        """Note where each parameter's piece lies in what process `rank` wrote."""
        weights = part["fp32_flat_groups" if self.stage == 3 else "single_partition_of_fp32_groups"]
        for number, flat in enumerate(weights):
            tensors = {WEIGHT: flat, **{key: states[number][key] for key in MOMENTS}}
            for name, start, size in self._places(rank, part, number):
                for key, tensor in tensors.items():
                    self._pieces[name, key].append(tensor.narrow(0, start, size))

    def _places(self, rank: int, part: dict[str, Any], number: int) -> Iterator[tuple[str, int, int]]:
        """Name, start and size of the pieces in a process's flat group."""
        if self.stage != 3:  # one cut through the row of all parameters
            for name, place in part["param_slice_mappings"][number].items():
                yield name, place.start, place.numel
            return
        start = 0  # each parameter is cut in equal parts, the last ones filled up with zeros
        for name, shape in self.counters["param_shapes"][number].items():
            share = -(-shape.numel() // self.processes)
            yield name, start, max(0, min(share, shape.numel() - rank * share))
            start += share

    @property
    def names(self) -> set[str]:
        """Of the trained parameters."""
        return {name for name, _ in self._pieces}

    def whole(self, name: str, key: str, size: int) -> torch.Tensor:
        """A parameter's float32 weights or one of its moments: `[size]`, on the CPU.

        Raises:
            RunDirectoryError: the checkpoint's has another size.
        """
        tensor = torch.cat([piece.detach() for piece in self._pieces[name, key]])
        if tensor.numel() != size:
            raise RunDirectoryError(
                f"{self.checkpoint}: {name} has {tensor.numel()} numbers there and {size} in this model: give the same "
                "--model" + _start_again(self.checkpoint)
            )
        return tensor


def _fill(engine: Any, shards: Shards) -> None:
    """Give a fresh engine the state of the checkpoint, and its model the weights."""
    optimizer, adam = engine.optimizer, engine.optimizer.optimizer
    trained = {name: weight for name, weight in engine.module.named_parameters() if weight.requires_grad}
    if set(trained) != shards.names or len(adam.param_groups) != len(shards.optimizer["groups"]):
        other = min(set(trained) ^ shards.names, default="its groups")
        raise RunDirectoryError(
            f"{shards.checkpoint} is of another model or with another LoRA rank ({other} differs): give what it was "
            "trained with" + _start_again(shards.checkpoint)
        )
    in_shards = int(engine.zero_optimization_stage()) == 3
    if in_shards:
        optimizer.checkpoint_event_prologue()
    flats = optimizer.fp32_partitioned_groups_flat if in_shards else optimizer.single_partition_of_fp32_groups
    for flat in flats:  # Adam makes these at its first step
        moments = {key: torch.zeros_like(flat, requires_grad=False) for key in MOMENTS}
        adam.state[flat] = {"step": shards.step.clone().to(flat.device), **moments}
    if not in_shards:
        optimizer._lazy_init_hp_params_optimizer_state()
    for name, parameter in trained.items():
        for key in (WEIGHT, *MOMENTS):
            _set(parameter, shards.whole(name, key, getattr(parameter, "ds_numel", parameter.numel())), key)
    for group, saved in zip(adam.param_groups, shards.optimizer["groups"], strict=True):
        group.update({key: value for key, value in saved.items() if key != "params"})
    for name in ("loss_scaler", "dynamic_loss_scale", "overflow"):
        setattr(optimizer, name, shards.optimizer[name])
    if in_shards:
        # DeepSpeed's own state, given back to it without Adam's, makes it renew the weights from their float32 copies.
        optimizer.load_state_dict([optimizer.state_dict()] * processes.world_size(), load_optimizer_states=False)
        optimizer.checkpoint_event_epilogue()
    else:
        optimizer.update_lp_params()
    for name, buffer in engine.module.named_buffers():
        if name in shards.counters["module"]:
            buffer.data.copy_(shards.counters["module"][name])
    for name in ("global_steps", "global_samples", "skipped_steps"):
        setattr(engine, name, shards.counters[name])


def _set(parameter: Any, value: torch.Tensor, key: str) -> None:
    """Let DeepSpeed take this process's part of a parameter's weights or moments."""
    from deepspeed import utils

    if hasattr(parameter, "ds_id"):
        share = parameter.ds_tensor.numel()
        own = value[processes.rank() * share : (processes.rank() + 1) * share]
        value = torch.nn.functional.pad(own, (0, share - own.numel()))
        if key == WEIGHT:
            utils.safe_set_local_fp32_param(parameter, value)
        else:
            utils.safe_set_local_optimizer_state(parameter, value, key)
    elif key == WEIGHT:
        utils.safe_set_full_fp32_param(parameter, value)
    else:
        utils.safe_set_full_optimizer_state(parameter, value, key)


def _parts_folder(checkpoint: Path) -> Path:
    return checkpoint / (checkpoint / "latest").read_text(encoding="utf-8").strip()


def _counters(checkpoint: Path) -> dict[str, Any]:
    folder = _parts_folder(checkpoint)
    return _mapped(min(folder.glob("*mp_rank_00_model_states.pt"), default=folder / "mp_rank_00_model_states.pt"))


def _written_by(counters: dict[str, Any]) -> tuple[int, int]:
    """Number of processes and stage of ZeRO."""
    return int(counters["dp_world_size"]), int(counters["ds_config"]["zero_optimization"]["stage"])


def _mapped(path: Path) -> dict[str, Any]:
    """
    Raises:
        RunDirectoryError: the file is missing or damaged.
    """
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=False)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise RunDirectoryError(
            f"{path} can't be read ({error}): delete {path.parent.parent} to go on from the checkpoint before it"
        ) from error
    return loaded


def _only(values: list[Any]) -> torch.Tensor:
    """The one value that all have.

    Raises:
        ValueError: they differ, or there is none.
    """
    if len({float(value) for value in values}) != 1:
        raise ValueError("its parts are of different steps")
    return torch.as_tensor(values[0], dtype=torch.float32)


def _start_again(checkpoint: Path) -> str:
    return f", or delete {checkpoint.parent} to start again"
