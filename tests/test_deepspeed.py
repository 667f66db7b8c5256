"""DeepSpeed on two CPU processes (gloo) does what one process does; `make test-scale-out` installs it and runs this.

Started by accelerate with the very files that `rewardranker launch --config-name zero2` and `zero3` give it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import launch_world
import pytest
import torch
from safetensors.torch import load_file

from rewardranker.cli.launch import config_file
from rewardranker.errors import RunDirectoryError
from rewardranker.training.zero_shards import Shards

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed: `make test-scale-out`"),
]
TOLERANCE = 2e-5
"""Largest difference of a weight: sums in float32 are added in another order."""
STAGES = ("zero2", "zero3")
Runs = dict[str, Path]


def started(stage: str, processes: int, *arguments: str) -> subprocess.Popen[str]:
    """This package's small trainings (see `launch_world`) under one of its DeepSpeed configurations."""
    options = ["--config_file", str(config_file(stage)), "--num_processes", str(processes), "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, launch_world.__file__, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def dies(stage: str, processes: int, *arguments: str) -> None:
    """`launch_world.interrupted` ends as it is asked to."""
    output = started(stage, processes, *arguments).communicate(timeout=280)[0]
    assert "SIGKILL" in output or "exits with return code = -9" in output, output[-5000:]


def ended(process: subprocess.Popen[str]) -> str:
    output = process.communicate(timeout=280)[0]
    assert process.returncode == 0, output[-5000:]
    return output


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The folders of one process alone and of two under each stage."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", *STAGES)}
    launch_world.everything(folders["one"])
    for stage in STAGES:
        ended(started(stage, 2, str(folders[stage])))
    return folders


def difference(one: Path, other: Path) -> float:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("folder", ["sft", "sft-micro", "reward", "ppo/policy"])
def test_two_processes_end_with_the_weights_of_one(runs: Runs, stage: str, folder: str) -> None:
    assert difference(runs["one"] / folder, runs[stage] / folder) < TOLERANCE


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("folder", ["sft", "sft-micro", "reward"])
def test_gradients_are_those_of_one_process_at_every_step(runs: Runs, stage: str, folder: str) -> None:
    both = [lines(runs[name] / folder / "metrics.jsonl") for name in ("one", stage)]
    one, two = ([line["grad_norm"] for line in run if "grad_norm" in line] for run in both)
    assert len(one) > 3
    assert two == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_ppo_has_the_metrics_of_one_process(runs: Runs, stage: str) -> None:
    one, two = (lines(runs[name] / "ppo" / "metrics.jsonl") for name in ("one", stage))
    assert one[-1]["objective/kl"] != 0
    for a, b in zip(one, two, strict=True):
        timeless = [name for name in a if name != "eps" and not name.startswith("seconds/")]
        assert {name: b[name] for name in timeless} == pytest.approx({name: a[name] for name in timeless}, abs=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_models_made_after_a_training_are_whole(runs: Runs, stage: str) -> None:
    """transformers would go on to make them in ZeRO-3's shards, which no sampler can draw from."""
    assert (runs["one"] / "samples.jsonl").read_bytes() == (runs[stage] / "samples.jsonl").read_bytes()


# --- going on with another number of processes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "written", "read"),
    [
        ("sft", ("zero2", 2), ("zero2", 1)),
        ("sft", ("zero2", 1), ("zero2", 2)),
        ("sft", ("zero3", 2), ("zero3", 1)),
        ("sft", ("zero3", 1), ("zero3", 2)),
        ("reward", ("zero3", 3), ("zero2", 2)),  # three do not divide the weights evenly
        ("reward", ("zero2", 2), ("zero3", 3)),
    ],
)
def test_a_checkpoint_goes_on_with_another_number_of_processes_to_the_same_weights(
    runs: Runs, tmp_path: Path, training: str, written: tuple[str, int], read: tuple[str, int]
) -> None:
    """Without moments, step or rates of the checkpoint the weights would differ a hundred times more."""
    model = tmp_path / training
    dies(*written, str(model), training, "saved")
    ended(started(*read, str(model), training, "loaded"))
    assert difference(runs["one"] / training, model) < TOLERANCE


def checkpoint_of(tmp_path: Path, stage: str) -> Path:
    """A checkpoint of two processes."""
    dies(stage, 2, str(tmp_path / "model"), "sft", "saved")
    return tmp_path / "model.checkpoints" / "checkpoint-3"


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_in_the_middle_of_reading_a_checkpoint_loses_nothing(runs: Runs, tmp_path: Path, stage: str) -> None:
    checkpoint = checkpoint_of(tmp_path, stage)
    before = {path: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()}
    dies(stage, 1, str(tmp_path / "model"), "sft", "loading")
    assert {path: path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()} == before
    ended(started(stage, 1, str(tmp_path / "model"), "sft", "loaded"))
    assert difference(runs["one"] / "sft", tmp_path / "model") < TOLERANCE


@pytest.fixture(scope="module", params=STAGES)
def checkpoint(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return checkpoint_of(tmp_path_factory.mktemp("refused"), request.param)


def copied(checkpoint: Path, tmp_path: Path, part: int) -> tuple[Path, Path]:
    """A copy of a checkpoint, and what process `part` wrote of it."""
    copy = Path(shutil.copytree(checkpoint, tmp_path / checkpoint.name))
    return copy, next(copy.glob(f"global_step3/*rank_{part}_*optim_states.pt"))


def with_changed_moments(checkpoint: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy in which Adam's first state of process 1 is another."""
    copy, part = copied(checkpoint, tmp_path, 1)
    saved = torch.load(part, weights_only=False)
    state = saved["optimizer_state_dict"]
    change((state.get("base_optimizer_state") or state["optimizer_state_dict"])["state"][0])
    torch.save(saved, part)
    return copy


def test_a_checkpoint_without_a_processs_part_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy, part = copied(checkpoint, tmp_path, 1)
    part.unlink()
    with pytest.raises(RunDirectoryError, match=r"lacks the part of process 1 of the 2 .*a shared filesystem"):
        Shards(copy)


def test_a_damaged_part_names_the_checkpoint_to_delete(checkpoint: Path, tmp_path: Path) -> None:
    copy, part = copied(checkpoint, tmp_path, 0)
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(RunDirectoryError, match=f"{part}.* can't be read .*delete {copy} to go on"):
        Shards(copy)


def test_parts_without_moments_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    """The optimiser never starts from nothing in silence."""
    copy = with_changed_moments(checkpoint, tmp_path, lambda state: state.pop("exp_avg_sq"))
    with pytest.raises(RunDirectoryError, match=r"no complete state of Adam .*on 2 processes with ZeRO-[23] alone"):
        Shards(copy)


def test_parts_of_different_steps_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = with_changed_moments(checkpoint, tmp_path, lambda state: state.update(step=state["step"] + 1))
    with pytest.raises(RunDirectoryError, match="different steps"):
        Shards(copy)


def test_a_parameter_of_another_size_is_refused(checkpoint: Path) -> None:
    shards = Shards(checkpoint)
    name = min(shards.names)
    with pytest.raises(RunDirectoryError, match=f"{name} has .* numbers there and 7 in this model"):
        shards.whole(name, "fp32", 7)
