"""Trackers (TensorBoard, Weights & Biases, trackio) through transformers' own callbacks.

Each training is a run of its own, named after its folder. Not guaranteed: that a training which goes on after a kill
goes on in the tracker's old run (trackio's does; TensorBoard's folder gets another file; W&B gets another run).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.errors import ConfigError, MissingExtraError
from rewardranker.training.wrapping import leave_new_models_whole

LOGS = "TENSORBOARD_LOGGING_DIR"
PROJECT = "rewardranker"
"""What runs are filed under, unless WANDB_PROJECT or TRACKIO_PROJECT names another."""


def check_trackers(names: Sequence[str]) -> None:
    """
    Raises:
        MissingExtraError: a tracker's package is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingExtraError(name, name)


def tensorboard_folder(output_dir: Path) -> Path:
    """Where TensorBoard's event files of a training go, unless the environment names another place."""
    return Path(os.environ.get(LOGS) or output_dir.with_name(f"{output_dir.name}.tensorboard"))


@contextlib.contextmanager
def tensorboard_in(folder: Path) -> Iterator[None]:
    """transformers' TensorBoard callback, made in this context, writes into `folder`."""
    before = os.environ.get(LOGS)
    os.environ[LOGS] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(LOGS)
        else:
            os.environ[LOGS] = before


def run_name(output_dir: Path) -> str:
    """A training's name in a tracker, where all of a user's runs stand side by side: its run directory and place in it
    (`quickstart-round-1-ppo`)."""
    folder = output_dir.resolve()
    run = next((parent for parent in folder.parents if (parent / "manifest.json").exists()), folder.parent)
    return "-".join([run.name, *folder.relative_to(run).parts])


@contextlib.contextmanager
def tracked(names: Sequence[str]) -> Iterator[None]:
    """A training with these trackers: what they print does not go to standard output, and W&B's run ends with it.

    transformers' callback closes none and goes on with an open one: all trainings of a process would be one run.

    Raises:
        ConfigError: a tracker refuses to work; says what to do instead.
    """
    if not names or not processes.is_main():
        yield
        return
    wandb = _wandb() if "wandb" in names else None
    users = wandb.run if wandb else None  # a run that the user of this package as a library has opened: not ours to end
    os.environ.setdefault("WANDB_PROJECT", PROJECT)
    code = 1
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
        code = 0
    except Exception as error:
        tracker = type(error).__module__.partition(".")[0]
        if tracker not in names:
            raise
        remedy = "leave it out of launch.report_to; the same command goes on"
        if tracker == "wandb":
            remedy = f"`wandb login`, or set WANDB_MODE=offline to keep the figures in ./wandb, or {remedy}"
        raise ConfigError(
            f"launch.report_to: {tracker} does not work here ({str(error).rstrip('.')}): {remedy}"
        ) from error
    finally:
        if wandb and wandb.run is not None and users is None:
            wandb.finish(exit_code=code)


def _wandb() -> Any:
    import wandb

    return wandb


class Trackers:
    """transformers' callbacks for a training with a loop of its own; on processes but the main one it does nothing."""

    def __init__(self, names: Sequence[str], output_dir: Path) -> None:
        """
        Args:
            names: as `report_to`.

        Raises:
            MissingExtraError: a tracker's package is not installed.
        """
        self._callbacks: list[Any] = []
        self._names = names
        self._open = contextlib.ExitStack()
        if not names or not processes.is_main():
            return
        check_trackers(names)
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks

        with tensorboard_in(tensorboard_folder(output_dir)):
            self._callbacks = [callback() for callback in get_reporting_integration_callbacks(list(names))]
        self._arguments = TrainingArguments(
            output_dir=str(output_dir), report_to=list(names), use_cpu=True, **naming(output_dir)
        )
        leave_new_models_whole()
        self._state, self._control = TrainerState(), TrainerControl()

    def log(self, step: int, figures: dict[str, float]) -> None:
        """One step's figures."""
        if self._callbacks:
            self._state.global_step = step
        self._each("on_log", logs=figures, model=None)

    def __enter__(self) -> Trackers:
        """
        Raises:
            ConfigError: a tracker refuses to work.
        """
        with contextlib.ExitStack() as opened:
            opened.enter_context(tracked(self._names))
            self._each("on_train_begin", model=None)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._each("on_train_end", model=None)
        self._open.__exit__(*error)

    def _each(self, event: str, **arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(self._arguments, self._state, self._control, **arguments)


def naming(output_dir: Path) -> dict[str, str]:
    """The arguments of transformers that name a training in the trackers."""
    return {"run_name": run_name(output_dir), "project": os.environ.get("TRACKIO_PROJECT", PROJECT)}
