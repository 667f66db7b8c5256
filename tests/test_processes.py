"""Several processes do what one does: the same weights, metrics and files, up to rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import launch_world
import pytest
import torch
from safetensors.torch import load_file

from rewardranker import processes
from rewardranker.errors import ProcessError

TOLERANCE = 2e-5
"""Largest difference of a weight between one process and two: sums in float32 are added in another order."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of one process and of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    launch_world.everything(one)
    launch_world.launch(two, 2)
    return one, two


def difference(one: Path, other: Path) -> float:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("folder", ["sft", "sft-micro", "reward", "ppo/policy"])
def test_two_processes_end_with_the_weights_of_one(runs: tuple[Path, Path], folder: str) -> None:
    one, two = runs
    assert difference(one / folder, two / folder) < TOLERANCE


def test_the_weights_that_are_compared_were_trained(runs: tuple[Path, Path]) -> None:
    """PPO's result may be the model that it began with."""
    start = launch_world.reward_world.tiny_causal_lm().state_dict()
    for folder in ("sft", "ppo/policy"):
        trained = load_file(runs[0] / folder / "model.safetensors")
        assert max(float((trained[name] - start[name]).abs().max()) for name in trained) > 100 * TOLERANCE


def test_micro_batches_end_with_the_weights_of_whole_batches(runs: tuple[Path, Path]) -> None:
    one, _ = runs
    assert difference(one / "sft", one / "sft-micro") < TOLERANCE


@pytest.mark.parametrize("folder", ["ppo", "ppo-critic"])
def test_ppo_has_the_metrics_of_one_process_and_one_line_a_step(runs: tuple[Path, Path], folder: str) -> None:
    one, two = (lines(run / folder / "metrics.jsonl") for run in runs)
    assert [line["step"] for line in two] == [0, 1, 2, 3]
    assert one[-1]["objective/kl"] != 0
    for a, b in zip(one, two, strict=True):
        timeless = [name for name in a if name != "eps" and not name.startswith("seconds/")]
        assert {name: b[name] for name in timeless} == pytest.approx({name: a[name] for name in timeless}, abs=1e-4)


@pytest.mark.parametrize("folder", ["sft", "sft-micro", "reward"])
def test_gradients_are_those_of_one_process_at_every_step(runs: tuple[Path, Path], folder: str) -> None:
    """Adam's steps do not depend on a gradient's scale, so equal weights alone would not show it."""
    steps = [[line for line in lines(run / folder / "metrics.jsonl") if "grad_norm" in line] for run in runs]
    one, two = ([line["grad_norm"] for line in run] for run in steps)
    assert len(one) > 3
    assert two == pytest.approx(one, rel=1e-4)


def test_figures_of_a_training_are_those_of_all_processes(runs: tuple[Path, Path]) -> None:
    one, two = (json.loads((folder / "reward" / "training.json").read_text())["figures"] for folder in runs)
    assert two == pytest.approx(one, abs=1e-5)


def test_sampling_shared_by_two_writes_the_file_of_one_byte_for_byte(runs: tuple[Path, Path]) -> None:
    one, two = runs
    assert (one / "samples.jsonl").read_bytes() == (two / "samples.jsonl").read_bytes()
    assert sorted(p.name for p in two.iterdir()) == sorted(p.name for p in one.iterdir())  # no parts are left


def test_alone_all_of_it_does_nothing() -> None:
    assert processes.gathered([1, 2]) == [1, 2]
    assert processes.from_main("a") == "a"
    assert processes.summed(torch.ones(2)).tolist() == [1, 1]
    assert list(processes.own_share(range(3))) == [0, 1, 2]


def test_more_processes_than_gpus_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ProcessError, match="2 processes were launched on a machine with 1 GPUs: lower --num-processes"):
        processes.join("cuda")


def test_shares_cover_all_items_and_differ_by_one_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    shares = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(processes.own_share(range(10))))
    assert [item for share in shares for item in share] == list(range(10))
    assert {len(share) for share in shares} == {2, 3}
