"""PPO's state on disk: what a resumption needs to end with the same bits as an undisturbed run.

Layout of PPO's folder: `metrics.jsonl` (a line a step), `checkpoint/` (the training state), `best-STEP/` (the policy
with the best pass rate so far), and at the end `policy/` (that policy) and `result.json`, when the first two go.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rewardranker import processes, runs
from rewardranker.config import PPOOptions
from rewardranker.errors import RunDirectoryError
from rewardranker.training import merged
from rewardranker.types import Task


@dataclass(slots=True)
class PPOState:
    """What PPO remembers between steps, beside weights and optimiser moments. All randomness is derived from
    `ppo.seed` and the step, so no generator's state is kept."""

    kl_coefficient: float
    reward_mean: float
    reward_deviation: float
    sft_pass_rate: float
    best_pass_rate: float
    step: int = 0
    best_step: int = 0
    measurements_without_gain: int = 0


class MetricsLog:
    """`metrics.jsonl`, written by the main process of a launch; the others' calls do nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"

    def __enter__(self) -> MetricsLog:
        self._log = runs.RecordLog(self._path, dict) if processes.is_main() else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.close()

    def __len__(self) -> int:
        """Lines in the file, on every process."""
        return processes.on_main(lambda: len(self._log) if self._log is not None else 0)

    def keep(self, count: int) -> None:
        """Drop all lines after the first `count`."""
        if self._log is not None:
            self._log.keep(count)

    def append(self, line: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.append([line])


def new_optimizer(groups: list[dict[str, Any]]) -> Any:
    """AdamW; launched as fsdp or zero, each process keeps the moments of its share of the parameters (ZeRO-1)."""
    if processes.kind() in ("single", "ddp"):
        return torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(groups, torch.optim.AdamW, weight_decay=0.0, fused=True)


def run_identity(
    options: PPOOptions,
    tasks: Sequence[Task],
    validation_tasks: Sequence[Task],
    round: int,
    lora_rank: int,
    lora_alpha: int,
) -> dict[str, Any]:
    """What must be equal for a checkpoint to be gone on from."""
    ids = "\n".join([*(t.task_id for t in tasks), "", *(t.task_id for t in validation_tasks)])
    return {
        "options": options.model_dump(mode="json"),
        "tasks": hashlib.sha256(ids.encode()).hexdigest(),
        "round": round,
        "lora": [lora_rank, lora_alpha],
    }


def save_state(
    folder: Path, identity: Mapping[str, Any], state: PPOState, policy: Any, critic: Any, optimizer: Any
) -> None:
    """Replace `folder/checkpoint` with the state after `state.step`: the same for any number of processes.

    Of the policy only what is trained is saved: with LoRA its adapters.
    """
    if hasattr(optimizer, "consolidate_state_dict"):
        optimizer.consolidate_state_dict(to=0)
    if not processes.is_main():
        return
    with runs.replacing_folder(folder / "checkpoint") as new:
        tensors = {"policy": _trained(policy), "value_head": _trained(critic), "optimizer": optimizer.state_dict()}
        torch.save(tensors, new / "training.pt")
        runs.write_json(new / "state.json", {"identity": identity, "state": state})


def load_state(folder: Path, identity: Mapping[str, Any], policy: Any, critic: Any, optimizer: Any) -> PPOState | None:
    """Load `folder/checkpoint` into the three objects; None where there is none yet.

    Raises:
        RunDirectoryError: the checkpoint was made with other options, tasks or round, or of another model.
    """
    checkpoint = processes.on_main(lambda: _recovered(folder))
    if checkpoint is None:
        return None
    saved = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    _check_identity(folder, saved["identity"], identity)
    tensors = torch.load(checkpoint / "training.pt", map_location="cpu", weights_only=True)
    if set(tensors["policy"]) != set(_trained(policy)):
        raise RunDirectoryError(
            f"{checkpoint} is of another model than {type(policy).__name__}: give the same --model to go on, or choose "
            "another --output-dir"
        )
    policy.load_state_dict(tensors["policy"], strict=False)
    critic.load_state_dict(tensors["value_head"], strict=False)
    optimizer.load_state_dict(tensors["optimizer"])
    return runs.from_row(saved["state"], PPOState, str(checkpoint / "state.json"))


def _trained(model: Any) -> dict[str, torch.Tensor]:
    """The state of a model without the weights that are not trained."""
    frozen = {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def _recovered(folder: Path) -> Path | None:
    """The checkpoint, after a session that was killed while it saved is tidied up."""
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return runs.recover_folder(folder / "checkpoint")


def save_policy(folder: Path, step: int, policy: Any, tokenizer: Any) -> None:
    """Write `folder/best-STEP`: a plain transformers model, with its adapters added in, and its tokenizer.

    Adapters are added into a copy: taking them out of half-precision weights again would not give back the same ones.
    """
    if not processes.is_main():
        return
    policy = merged(copy.deepcopy(policy)) if hasattr(policy, "peft_config") else policy
    with _no_progress_bar(), runs.replacing_folder(folder / f"best-{step}") as new:
        policy.save_pretrained(new)
        tokenizer.save_pretrained(new)


@contextlib.contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Transformers draws a bar for each save, which would break the line that shows PPO's own progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def drop_other_policies(folder: Path, step: int) -> None:
    """Remove all `best-*` but that of `step` (once a checkpoint names `step` as the best)."""
    if not processes.is_main():
        return
    for old in folder.glob("best-*"):
        if old.name != f"best-{step}":
            shutil.rmtree(old)


def finish(folder: Path, identity: Mapping[str, Any], step: int, figures: Mapping[str, Any]) -> Path:
    """Give the best policy its lasting name, write `result.json`, and drop the training state. Returns the policy."""
    return processes.on_main(lambda: _finish(folder, identity, step, figures))


def _finish(folder: Path, identity: Mapping[str, Any], step: int, figures: Mapping[str, Any]) -> Path:
    with runs.replacing_folder(folder / "policy") as new:
        shutil.copytree(folder / f"best-{step}", new, dirs_exist_ok=True)
    runs.write_json(folder / "result.json", {"identity": identity, "figures": figures})
    drop_other_policies(folder, -1)
    shutil.rmtree(folder / "checkpoint")
    return folder / "policy"


def finished(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures of a PPO that came to its end in this folder, else None.

    Raises:
        RunDirectoryError: it was made with other options, tasks or round.
    """
    return processes.on_main(lambda: _finished(folder, identity))


def _finished(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    path = folder / "result.json"
    if not path.exists():
        return None
    saved = json.loads(path.read_text(encoding="utf-8"))
    _check_identity(folder, saved["identity"], identity)
    drop_other_policies(folder, -1)  # a kill may have come between writing the result and tidying up
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    figures: dict[str, Any] = saved["figures"]
    return figures


def _check_identity(folder: Path, saved: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    defaults = PPOOptions().model_dump(mode="json")  # what an option did before it was one
    both = ({**defaults, **one["options"]} for one in (saved, identity))
    old, new = ({k: v for k, v in options.items() if k not in runs.FREE_OPTIONS} for options in both)
    if {**saved, "options": old} == {**identity, "options": new}:
        return
    changed = [f"ppo.{key}: was {old.get(key)!r}, now {new[key]!r}" for key in new if old.get(key) != new[key]]
    changed += [name for name in ("tasks", "round", "lora") if saved[name] != identity[name]]
    raise RunDirectoryError(
        f"{folder} holds a PPO with other options or data ({'; '.join(changed)}): give the same ones to go on, or "
        "choose another --output-dir"
    )
