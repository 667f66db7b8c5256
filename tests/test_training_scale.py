"""Micro-batches, found batch sizes, trackers, and what goes wrong on real machines: each fault is named."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import launch_world
import pytest
import torch

from rewardranker.config import LaunchOptions
from rewardranker.errors import ModelError, ProcessError, RunDirectoryError, TrainingError
from rewardranker.policy.sft import _SFTTrainer
from rewardranker.training import PlannedTrainer, checkpoints_folder, faults_named
from rewardranker.training.batches import Sizes, divided
from rewardranker.training.finished import MARKER
from rewardranker.training.trainer import _check_readable

SIZES = Sizes([5 + (i * 37) % 60 for i in range(100)], [1 + i % 4 for i in range(100)])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# --- dividing a batch ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("processes", "bound"), [(1, 300), (3, None), (4, 200), (7, 90)])
def test_a_divided_batch_has_every_example_once_and_equally_many_parts(processes: int, bound: int | None) -> None:
    batch = list(range(3, 40))
    parts = divided(batch, SIZES, processes, bound)
    assert sorted(item for part in parts for micro in part for item in micro) == batch
    assert len({len(part) for part in parts}) == 1


def test_no_micro_batch_holds_more_tokens_than_asked_but_of_a_larger_example() -> None:
    for micro in (micro for part in divided(range(60), SIZES, 2, 120) for micro in part if len(micro) > 1):
        assert sum(map(SIZES.rows_of, micro)) * max(SIZES.lengths[item] for item in micro) <= 120


def test_processes_get_like_loads() -> None:
    loads = [sum(SIZES.cost(item) for micro in part for item in micro) for part in divided(range(60), SIZES, 4, None)]
    assert max(loads) < 1.1 * min(loads)


def test_fewer_examples_than_processes_leave_some_with_an_empty_part() -> None:
    assert sorted(divided([8, 9], SIZES, 4, None)) == [[[]], [[]], [[8]], [[9]]]


# --- memory -------------------------------------------------------------------------------------------------------


class Limited:
    """Stands in for a device's memory: batches of more tokens than it holds do not fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
        self.sizes: list[int] = []
        whole = _SFTTrainer.batch_loss

        def loss(trainer: Any, model: Any, batch: dict[str, Any], *more: Any) -> Any:
            self.sizes.append(batch["input_ids"].numel())
            if self.sizes[-1] > tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return whole(trainer, model, batch, *more)

        monkeypatch.setattr(_SFTTrainer, "batch_loss", loss)


def test_a_batch_that_fits_is_found_and_trains_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_world.sft(tmp_path / "whole")
    memory = Limited(monkeypatch, 100)
    launch_world.sft(tmp_path / "found", micro_batch_tokens="auto")
    assert max(memory.sizes) > 100  # it did not fit at first
    one, other = ((tmp_path / name / "training.json").read_text() for name in ("whole", "found"))
    a, b = (json.loads(text)["figures"] for text in (one, other))
    assert b["loss"] == pytest.approx(a["loss"], abs=1e-5)
    assert b["micro_batch_tokens"] <= 150


def test_out_of_memory_names_the_key_and_a_lower_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        Limited(patch, 250)
        with pytest.raises(TrainingError, match=r"out of memory.*lower sft\.micro_batch_tokens.*auto"):
            launch_world.sft(tmp_path / "model")
    launch_world.sft(tmp_path / "model", micro_batch_tokens=60)
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_a_batch_that_never_fits_ends_with_the_same_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Limited(monkeypatch, 0)
    with pytest.raises(TrainingError, match="out of memory"):
        launch_world.sft(tmp_path / "model", micro_batch_tokens="auto")


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "named", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), TrainingError, r"lower ppo\.micro_batch_tokens"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), TrainingError, "out of memory"),
        (
            torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device", 209)
            if hasattr(torch, "AcceleratorError")
            else RuntimeError("CUDA error: no kernel image is available for execution on the device"),
            ModelError,
            "no code for this GPU: install",
        ),
        (RuntimeError("[gloo] Connection closed by peer [127.0.0.1]"), ProcessError, "another process of this launch"),
        (OSError(errno.ENOSPC, "No space left on device"), RunDirectoryError, "no space left"),
        (OSError(errno.ESTALE, "Stale file handle"), RunDirectoryError, "does not answer"),
    ],
)
def test_a_fault_is_named(raised: Exception, named: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(named, match=words), faults_named("PPO", "ppo.micro_batch_tokens", tmp_path):
        raise raised


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), faults_named("PPO", "ppo.micro_batch_tokens", tmp_path):
        raise RuntimeError("shapes differ")


def test_an_overflow_in_float16_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = half_of_huge_weights(launch_world.reward_world.tiny_causal_lm())
    monkeypatch.setattr(launch_world.reward_world, "tiny_causal_lm", lambda: model)
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf).*float16 overflows.*model\.dtype=bfloat16"):
        launch_world.sft(tmp_path / "model")


def half_of_huge_weights(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(200)
    return model.half()


def test_a_training_that_defines_no_counts_says_so() -> None:
    with pytest.raises(NotImplementedError, match="PlannedTrainer does not define counts"):
        PlannedTrainer.counts(PlannedTrainer.__new__(PlannedTrainer), [])


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ({"kind": "fsdp", "processes": 2}, "--config-name fsdp, which one with single or ddp can't read"),
        ({"kind": "deepspeed", "processes": 1}, "--config-name zero2 or zero3, which"),
    ],
)
def test_a_checkpoint_of_another_kind_of_launch_is_refused(marker: dict[str, Any], words: str) -> None:
    with pytest.raises(RunDirectoryError, match=words):
        _check_readable(Path("model.checkpoints/checkpoint-5"), marker)


# --- checkpoints and trackers -------------------------------------------------------------------------------------


def test_the_last_checkpoints_are_kept_as_many_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_world, "LOGGED", LaunchOptions(checkpoints_kept=3))
    monkeypatch.setattr("rewardranker.policy.sft.save_finished", lambda *_: None)
    launch_world.sft(tmp_path / "model", epochs=5)
    kept = [path.parent.name for path in checkpoints_folder(tmp_path / "model").glob(f"*/{MARKER}")]
    steps = sorted(int(name.removeprefix("checkpoint-")) for name in kept)
    every = sorted({*range(3, steps[-1], 3), steps[-1]})
    assert len(every) > 3
    assert steps == every[-3:]


def test_figures_reach_tensorboard_and_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(launch_world, "LOGGED", LaunchOptions(report_to=("tensorboard",), log_steps=1))
    launch_world.sft(tmp_path / "model")
    rows = [json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()]
    events = accumulator.EventAccumulator(str(tmp_path / "model.tensorboard"))
    events.Reload()
    logged = {event.step: event.value for event in events.Scalars("train/loss")}
    assert len(logged) > 3
    assert logged == pytest.approx({row["step"]: row["loss"] for row in rows if row["step"] in logged}, rel=1e-5)


def test_metrics_of_ppo_reach_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(launch_world, "LOGGED", LaunchOptions(report_to=("tensorboard",)))
    launch_world.ppo(tmp_path / "ppo")
    rows = [json.loads(line) for line in (tmp_path / "ppo" / "metrics.jsonl").read_text().splitlines()]
    events = accumulator.EventAccumulator(str(tmp_path / "ppo.tensorboard"))
    events.Reload()
    found = [event.value for event in events.Scalars("train/objective/kl")]
    assert found == pytest.approx([row["objective/kl"] for row in rows[1:]], rel=1e-5)
