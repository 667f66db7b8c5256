"""DeepSpeed on two CPU processes (gloo) does what one process does; `make test-scale-out` installs it and runs this.

Started by accelerate with the very files that `rewardranker launch --config-name zero2` and `zero3` give it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import launch_world
import pytest
from safetensors.torch import load_file

from rewardranker.cli.launch import config_file

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
