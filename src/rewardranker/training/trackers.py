"""Trackers (TensorBoard, Weights & Biases, trackio, ...) through transformers' own callbacks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.errors import MissingExtraError
from rewardranker.training.wrapping import leave_new_models_whole

LOGS = "TENSORBOARD_LOGGING_DIR"


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
        self._state: Any = None
        if not names or not processes.is_main():
            return
        check_trackers(names)
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks

        with tensorboard_in(tensorboard_folder(output_dir)):
            self._callbacks = [callback() for callback in get_reporting_integration_callbacks(list(names))]
        self._arguments = TrainingArguments(
            output_dir=str(output_dir), report_to=list(names), run_name=output_dir.name, use_cpu=True
        )
        leave_new_models_whole()
        self._state, self._control = TrainerState(), TrainerControl()
        self._each("on_train_begin", model=None)

    def log(self, step: int, figures: dict[str, float]) -> None:
        """One step's figures."""
        if self._callbacks:
            self._state.global_step = step
        self._each("on_log", logs=figures, model=None)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *_: object) -> None:
        self._each("on_train_end", model=None)

    def _each(self, event: str, **arguments: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(self._arguments, self._state, self._control, **arguments)
