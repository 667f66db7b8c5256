"""`rewardranker serve`: what it checks before it serves, and that it serves and ends when asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from serving_world import tiny_ranker

from rewardranker.cli import main


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "reward"
    tiny_ranker().save_pretrained(folder)
    return folder


def dry(*arguments: str) -> int:
    return main(["serve", "--dry-run", *arguments])


def test_the_plan_says_what_would_be_served(
    reward: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARDRANKER_API_KEYS", "one, two")
    assert dry("--reranker", str(reward.parent), "--upstream", "http://localhost:8000/v1", "--best-of", "16") == 0
    told = capsys.readouterr().out
    assert "# would serve on http://127.0.0.1:8080: the best of 16 candidates from http://localhost:8000/v1" in told
    assert "# API keys: 2" in told
    assert f"# --reranker: {reward}" in told
    assert "one" not in told.split("API keys")[1].split("\n")[0]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--upstream", "http://a/v1", "--model", "b"), 2, "not both"),
        (("--best-of", "9", "--max-best-of", "8"), 2, "above --max-best-of"),
        (("--upstream", "localhost:8000"), 2, "needs http:// or https://"),
        (("--reranker-files", "x"), 2, "--reranker-files is for --reranker URL"),
        (("--model", "nowhere"), 4, "no such folder"),
        (("--adaptive", "none.json"), 3, "rewardranker calibrate"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_loaded(
    arguments: tuple[str, ...], status: int, words: str, reward: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry("--reranker", str(reward), *arguments) == status
    assert words in capsys.readouterr().err


def test_a_folder_without_a_reward_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry("--reranker", str(tmp_path)) == 4
    assert "neither a reward model" in capsys.readouterr().err


def test_a_missing_package_is_told(
    reward: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in ("rewardranker.serving.app", "rewardranker.serving.server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert dry("--reranker", str(reward)) == 5
    assert "pip install 'rewardranker[serve]'" in capsys.readouterr().err


def test_it_serves_and_ends_when_asked(reward: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "rewardranker",
        "serve",
        "--reranker",
        str(reward),
        "--port",
        "0",
        "launch.threads=1",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "REWARDRANKER_API_KEYS": "key"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        url = next(found[0] for line in process.stderr if (found := re.search(r"http://127.0.0.1:\d+", line)))
        body = {"query": "q", "documents": ["a", "b"]}
        answer = httpx2.post(f"{url}/rerank", json=body, headers={"Authorization": "Bearer key"}, timeout=60)
        assert len(answer.json()["results"]) == 2
        process.send_signal(signal.SIGTERM)
        log = process.stderr.read()
        assert process.wait(20) in (0, -signal.SIGTERM)
    assert "Traceback" not in log
    assert "/rerank 200" in log
