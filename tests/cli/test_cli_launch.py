"""`rewardranker launch`: what it refuses, what it starts, and what is said when a process dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from rewardranker.cli import main
from rewardranker.cli.launch import CONFIGS, config_file

RECIPE = {
    "model": {
        "generator": "scratch",
        "scratch": {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64, "vocabulary": 300},
    },
    "tasks": {"train_limit": 40, "validation_limit": 6, "evaluation_limit": 6, "corpus_size": 1500},
    "sft": {"learning_rate": 3e-3, "batch_tokens": 1024, "max_length": 256, "save_steps": 5},
    "sampling": {"n": 4, "max_new_tokens": 24, "batch_tasks": 8},
    "judge": {"timeout": 1, "allow_unsafe": True},
    "preference": {"references": True},
    "reward": {"pooling": "sum", "learning_rate": 1e-3, "batch_tokens": 1024, "max_length": 256},
    "ppo": {
        "steps": 2,
        "tasks_per_step": 8,
        "evaluate_every": 1,
        "validation_samples": 2,
        "max_new_tokens": 24,
        "learning_rate": 1e-3,
    },
    "evaluation": {"n": 4, "bootstrap": 100},
    "launch": {"device": "cpu", "threads": 1},
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["judge", "samples.jsonl"], "'judge' runs in one process: start it without launch"),
        (["quickstart", "--ablations"], "--ablations runs in one process"),
        (["sfft"], "'sfft' is no command. Several processes can share sft, reward"),
        (["--num-machines", "2", "--main-address", "no.such.invalid", "sft"], "no.such.invalid is not known here"),
        (["--config-name", "single", "--num-processes", "2", "sft"], "single is one process, not 2"),
        (["--num-machines", "2", "sft"], "give --main-address"),
        (["--num-machines", "2", "--main-address", "localhost", "--num-processes", "3", "sft"], "do not divide"),
        (["--num-machines", "2", "--main-address", "localhost", "--machine-rank", "2", "sft"], "--machine-rank is 2"),
    ],
)
def test_a_launch_that_can_not_work_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_zero_without_deepspeed_names_the_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["launch", "--config-name", "zero2", "--num-processes", "2", "sft"]) == 5
    assert "pip install 'rewardranker[deepspeed]'" in capsys.readouterr().err


@pytest.mark.parametrize("name", CONFIGS)
def test_a_named_configuration_is_one_that_accelerate_reads(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(config_file(name))).num_machines == 1


def test_one_process_runs_the_command_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "--num-processes", "1", "sft", "--dry-run", "--output-dir", str(tmp_path / "a")]) == 0
    assert "# would train scratch on" in capsys.readouterr().out


# --- real launches ------------------------------------------------------------------------------------------------


def recipe(folder: Path) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


def launch(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rewardranker", "launch", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def difference(one: Path, other: Path) -> float:
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return max(float((a[name] - b[name]).abs().max()) for name in a)


WITH_DEEPSPEED = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="deepspeed is not installed: `make test-scale-out`"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["ddp", "2"], ["single", "1"]),
        (["fsdp", "2"], ["fsdp", "1"]),
        pytest.param(["zero2", "2"], ["zero2", "1"], marks=WITH_DEEPSPEED),
        pytest.param(["zero3", "2"], ["zero3", "1"], marks=WITH_DEEPSPEED),
    ],
)
def test_a_killed_process_ends_all_and_the_command_goes_on_with_another_number(
    tmp_path: Path, first: list[str], second: list[str]
) -> None:
    """The survivor's checkpoints, sharded where the model is, are read by one process, which ends with the weights of
    an undisturbed training."""
    where = ["sft", "--config", recipe(tmp_path), "--output-dir"]
    out = tmp_path / "out"
    process = launch("--config-name", first[0], "--num-processes", first[1], *where, str(out))
    deadline = time.monotonic() + 200
    while not list(out.glob("model.checkpoints/checkpoint-*/complete.json")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGKILL
    assert "was killed by SIGKILL" in errors
    assert "the same command goes on" in errors
    again = launch("--config-name", second[0], "--num-processes", second[1], *where, str(out))
    output, errors = again.communicate(timeout=280)
    assert again.returncode == 0, errors
    assert "supervised fine-tuning: 0/" not in errors  # it did go on
    assert "written:" in output
    assert main([*where, str(tmp_path / "whole")]) == 0
    assert difference(out / "model", tmp_path / "whole" / "model") < 1e-4


@pytest.mark.slow
def test_the_whole_loop_runs_on_two_processes(tmp_path: Path) -> None:
    process = launch("--num-processes", "2", "run", "--config", recipe(tmp_path), "--output-dir", str(tmp_path / "run"))
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert output.count("reranker:") == 1  # the main process alone speaks
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
def test_processes_end_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = launch("--num-processes", "2", "sft", "--config", recipe(tmp_path), "--output-dir", str(out))
    while not (out / "manifest.json").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    started = children(process.pid)
    assert len(started) == 2
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_with_one_message(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = launch("--num-processes", "2", "sft", "--config", recipe(tmp_path), "--output-dir", str(out))
    while not list(out.glob("model.checkpoints/checkpoint-*/complete.json")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    started = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert errors.count("stopped; the same command goes on") == 1
    assert "death signal" not in errors
    assert "Traceback" not in errors
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
