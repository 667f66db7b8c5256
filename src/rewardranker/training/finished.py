"""Trainings on disk: what makes a checkpoint complete, and a model appear in its folder whole or not at all.

Under a launch of several processes the main one reads and writes; what it finds holds for all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.errors import RunDirectoryError
from rewardranker.runs import recover_folder, replacing_folder, write_json
from rewardranker.training.faults import full_disk_named
from rewardranker.training.models import quiet_transformers

MARKER = "complete.json"
"""Written into a checkpoint after everything else in it is on disk: a checkpoint without it is not one."""
SUMMARY = "training.json"
"""In the folder of a finished model: what was trained, and its figures."""
METRICS = "metrics.jsonl"
"""A line of figures every `launch.log_steps` steps."""


def last_checkpoint(folder: Path) -> Path | None:
    """The latest complete checkpoint; those that a kill left incomplete are deleted."""
    steps: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / MARKER).exists() and (path / "trainer_state.json").exists():
            steps[int(path.name.removeprefix("checkpoint-"))] = path
        else:
            shutil.rmtree(path)
    return steps[max(steps)] if steps else None


def checkpoints_folder(output_dir: Path) -> Path:
    """Where the checkpoints of a training live until its model stands in `output_dir`."""
    return output_dir.with_name(f"{output_dir.name}.checkpoints")


def model_folder(checkpoints: Path) -> Path:
    """Where the model of these checkpoints will stand."""
    return checkpoints.with_name(checkpoints.name.removesuffix(".checkpoints"))


def fingerprint(model: Any, examples: Sequence[Any], options: Mapping[str, Any]) -> str:
    """What decides the outcome of a training: options, all examples, and the first weights of every tensor.

    `micro_batch_tokens` does not: it may be lowered when memory has run out, and the training goes on.
    """
    digest = sha256(json.dumps(_deciding(options), sort_keys=True).encode())
    for example in examples:
        digest.update(repr(example).encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().flatten()[:16].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _deciding(options: Any) -> Any:
    if isinstance(options, Mapping):
        return {key: _deciding(value) for key, value in options.items() if key != "micro_batch_tokens"}
    return options


def is_finished(output_dir: Path, identity: str) -> bool:
    """True when the model of exactly this training stands in `output_dir` already; False when it is to be made.

    Raises:
        RunDirectoryError: the folder holds something else, or checkpoints of another training.
    """
    return processes.on_main(lambda: _is_finished(output_dir, identity))


def _is_finished(output_dir: Path, identity: str) -> bool:
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
        save: writes model and tokenizer into the folder it is given; called on the main process alone.
        figures: plain JSON values, kept beside the model in `training.json`.
    """

    def write() -> None:
        metrics = checkpoints_folder(output_dir) / METRICS
        with full_disk_named(output_dir), quiet_transformers(), replacing_folder(output_dir) as folder:
            save(folder)
            if metrics.exists():
                shutil.copyfile(metrics, folder / METRICS)
            write_json(folder / SUMMARY, {"identity": identity, "figures": figures})
        shutil.rmtree(checkpoints_folder(output_dir), ignore_errors=True)

    processes.on_main(write)
