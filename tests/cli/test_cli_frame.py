"""The frame of the command line: help, errors as messages, exit statuses, pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rewardranker import cli, errors
from rewardranker.cli import COMMANDS, main

ALL = [name for names in COMMANDS.values() for name in names]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rewardranker", *arguments], capture_output=True, text=True, timeout=60
    )


def with_command(monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    """A group whose one command, `do`, is `body`."""
    group = click.Group("rewardranker", commands={"do": click.command("do")(body)})  # type: ignore[call-overload]
    monkeypatch.setattr(cli, "group", group)


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_and_a_line_in_the_list(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"rewardranker {name}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == [name]]
    assert len(line.split()) > 3


def test_every_command_of_the_folder_is_listed() -> None:
    files = Path(cli.__file__).parent.glob("*.py")
    assert {path.stem for path in files if "\ndef command(" in path.read_text()} == set(ALL)


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quikstart"]) == 2
    assert "Did you mean 'quickstart'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.RewardRankerError)],
)
def test_an_error_on_purpose_is_a_message_and_the_status_of_its_class(
    error: type[errors.RewardRankerError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise error("file.jsonl:3", "extra") if error is errors.MissingExtraError else error("file.jsonl:3: broken")

    with_command(monkeypatch, body)
    assert main(["do"]) == error.exit_code != 0
    shown = capsys.readouterr()
    assert "file.jsonl:3" in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_exit_statuses_tell_the_errors_apart() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.RewardRankerError)]
    assert len({c.exit_code for c in classes}) == len(classes) > 6


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        raise ZeroDivisionError("bug")

    with_command(monkeypatch, body)
    with pytest.raises(ZeroDivisionError, match="bug"):
        main(["do"])


def test_ctrl_c_says_how_to_go_on() -> None:
    code = """
import os, signal, sys
from rewardranker import cli
import click
cli.group = click.Group(commands={"do": click.command("do")(lambda: os.kill(os.getpid(), signal.SIGINT))})
sys.exit(cli.main(["do"]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 128 + signal.SIGINT
    assert result.stderr.strip() == "stopped; the same command goes on where it stopped"


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "rewardranker", "config", "--markdown"]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert result.stderr == ""


def test_module_and_script_are_the_same() -> None:
    assert run("--version").stdout.startswith("rewardranker, version ")
    assert run("config", "no-such-recipe").returncode == errors.ConfigError.exit_code
