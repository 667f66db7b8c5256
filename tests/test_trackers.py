"""Trackers with the real packages, without a network: each training is a run of its own with all its figures."""

from __future__ import annotations

import importlib
import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import launch_world
import pytest
import torch

from rewardranker.config import LaunchOptions
from rewardranker.errors import ConfigError
from rewardranker.training.trackers import run_name, tracked


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers write into the working folder or the home."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "trial")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.delenv("TRACKIO_PROJECT", raising=False)


def train_all(monkeypatch: pytest.MonkeyPatch, tracker: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Three trainings of one process, as in the loop; what each wrote into its metrics.jsonl."""
    monkeypatch.setattr(launch_world, "LOGGED", LaunchOptions(report_to=(tracker,), log_steps=1))
    for kind in ("sft", "reward", "ppo"):
        getattr(launch_world, kind)(folder / kind)
    return {kind: rows(folder / kind / "metrics.jsonl") for kind in ("sft", "reward", "ppo")}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def curves(lines: list[dict[str, Any]], figure: str) -> list[float]:
    return [line[figure] for line in lines if figure in line]


def check(found: dict[str, list[dict[str, Any]]], written: dict[str, list[dict[str, Any]]], folder: str) -> None:
    """The figures of each run are those of its training's metrics.jsonl."""
    assert set(found) == {f"{folder}-{kind}" for kind in written}
    for kind, figure in {"sft": "loss", "reward": "accuracy", "ppo": "objective/kl"}.items():
        expected = curves(written[kind], figure)
        assert len(expected) >= 3
        assert curves(found[f"{folder}-{kind}"], f"train/{figure}") == pytest.approx(expected, abs=1e-6)


def test_trackio_has_a_run_of_each_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed: `make test-scale-out`")
    written = train_all(monkeypatch, "trackio", tmp_path / "run")
    found: dict[str, list[dict[str, Any]]] = {}
    with sqlite3.connect(tmp_path / "trackio" / "rewardranker.db") as base:
        for name, line in base.execute("select run_name, metrics from metrics order by id"):
            found.setdefault(name, []).append(json.loads(line))
    check(found, written, "run")
    assert capsys.readouterr().out == ""  # standard output is for results


def test_weights_and_biases_offline_has_a_run_of_each_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: `make test-scale-out`")
    written = train_all(monkeypatch, "wandb", tmp_path / "run")
    assert wandb.run is None
    found = dict(map(offline_run, (tmp_path / "wandb").glob("offline-run-*/*.wandb")))
    check(found, written, "run")


def test_a_run_that_the_caller_has_opened_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: `make test-scale-out`")
    monkeypatch.setattr(launch_world, "LOGGED", LaunchOptions(report_to=("wandb",)))
    with wandb.init(name="the caller's") as run:
        launch_world.reward(tmp_path / "reward")
        assert wandb.run is run


def test_without_an_account_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: `make test-scale-out`")
    wandb.teardown()  # it reads the environment once
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(launch_world, "LOGGED", LaunchOptions(report_to=("wandb",)))
    with pytest.raises(ConfigError, match=r"wandb does not work here.*`wandb login`, or set WANDB_MODE=offline"):
        launch_world.reward(tmp_path / "reward")


def test_what_a_tracker_raises_is_named_and_other_errors_pass() -> None:
    raised = type("SpaceError", (Exception,), {"__module__": "trackio.deploy"})
    with (
        pytest.raises(ConfigError, match=r"trackio does not work here \(no space\): leave it out"),
        tracked(["trackio"]),
    ):
        raise raised("no space")
    with pytest.raises(ValueError, match="shapes"), tracked(["trackio"]):
        raise ValueError("shapes")


def test_a_run_is_named_after_its_run_directory(tmp_path: Path) -> None:
    run = tmp_path / "quickstart"
    (run / "round-1").mkdir(parents=True)
    assert run_name(run / "round-1" / "ppo") == "round-1-ppo"  # a training that was started alone
    (run / "manifest.json").write_text("{}")
    assert run_name(run / "round-1" / "ppo") == "quickstart-round-1-ppo"


# --- W&B's file -----------------------------------------------------------------------------------------------------


def offline_run(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Name and history of an offline run."""
    record = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    name, history = "", []
    for content in log_entries(path.read_bytes()):
        entry = record.FromString(content)
        name = entry.run.display_name or name
        items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in entry.history.item}
        if items:
            history.append(items)
    return name, history


def log_entries(data: bytes, block: int = 32768) -> list[bytes]:
    """Entries of a file in LevelDB's log format: in each block chunks of checksum, length and place in the entry."""
    entries, parts, place = [], b"", 7  # W&B's own mark comes first
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole entry, or the last part of one
            entries.append(parts)
            parts = b""
    return entries
