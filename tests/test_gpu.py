"""On a GPU: trainings end where they do on the CPU, and its own faults are named."""

from __future__ import annotations

import json
from pathlib import Path

import launch_world
import pytest
import torch

from rewardranker.errors import TrainingError
from rewardranker.training import faults_named

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


@pytest.mark.parametrize("kind", ["sft", "reward"])
def test_a_training_has_the_loss_it_has_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        monkeypatch.setattr(launch_world, "DEVICE", device)
        getattr(launch_world, kind)(tmp_path / device)
        losses.append(json.loads((tmp_path / device / "training.json").read_text())["figures"]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_ppo_starts_with_ratios_of_one_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_world, "DEVICE", "cuda")
    launch_world.ppo(tmp_path / "ppo")
    metrics = [json.loads(line) for line in (tmp_path / "ppo" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[1]["objective/kl"] == pytest.approx(0, abs=1e-4)
    assert (tmp_path / "ppo" / "policy" / "model.safetensors").exists()


def test_a_full_gpu_is_named_with_what_it_has(tmp_path: Path) -> None:
    with (
        pytest.raises(TrainingError, match=r"out of memory \(GPU of \d+ GiB.*lower sft\.micro_batch_tokens"),
        faults_named("SFT", "sft.micro_batch_tokens", tmp_path),
    ):
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
