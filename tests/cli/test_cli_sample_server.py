"""`rewardranker sample --upstream`: from the command line to a server over real HTTP and back into a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_openai import FakeOpenAI, Fault

from rewardranker.cli import main
from rewardranker.runs import read_records
from rewardranker.types import Sample


def sample(url: str, output: Path, *arguments: str) -> int:
    common = ["--tasks", "synthetic:train", "--limit", "3", "--output", str(output), "sampling.n=2"]
    return main(["sample", "--upstream", url, *common, *arguments])


def test_programs_come_from_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with FakeOpenAI() as server:
        assert sample(server.url, tmp_path / "s.jsonl", "--request-field", "top_k=5") == 0
        assert {path for path, *_ in server.requests} == {"/v1/completions"}
        assert {body["top_k"] for body in server.bodies} == {5}
        assert {headers["Authorization"] for *_, headers in server.requests} == {"Bearer sk-secret"}
    samples = list(read_records(tmp_path / "s.jsonl", Sample))
    assert [(s.model, s.sample_id) for s in samples] == [("tiny", 0), ("tiny", 1)] * 3
    assert all(s.program.endswith(s.text) for s in samples)
    assert "sk-secret" not in (tmp_path / "s.jsonl").read_text()


def test_chat_is_asked_for_the_complete_code(tmp_path: Path) -> None:
    with FakeOpenAI() as server:
        assert sample(server.url, tmp_path / "s.jsonl", "--api", "chat", "--model", "tiny") == 0
        path, body, _ = server.requests[0]
    assert path == "/v1/chat/completions"
    assert "Answer with the complete code" in body["messages"][0]["content"]


def test_a_dry_run_asks_the_server_for_its_models_and_for_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeOpenAI() as server:
        assert sample(server.url, tmp_path / "s.jsonl", "--dry-run") == 0
        assert server.requests == []
        assert f"from tiny at {server.url}" in capsys.readouterr().out
        assert sample(server.url, tmp_path / "s.jsonl", "--dry-run", "--model", "other") == 2
        assert "no model 'other'; it has: tiny" in capsys.readouterr().err
    assert not (tmp_path / "s.jsonl").exists()


def test_a_server_that_fails_ends_the_command_with_its_own_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeOpenAI() as server:
        server.faults += [Fault(503, {"Retry-After": "0"})] * 10
        assert sample(server.url, tmp_path / "s.jsonl", "--retries", "0") == 9
    assert "status 503" in capsys.readouterr().err


def test_missing_log_probabilities_are_refused_where_they_are_required(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeOpenAI(logprobs=False) as server:
        assert sample(server.url, tmp_path / "s.jsonl", "--logprobs", "required") == 9
    assert "gives no log-probabilities" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--api", "chat"], "give --upstream"),
        (["--engine-option", "max_model_len=9"], "--engine vllm"),
        (["--engine", "vllm", "--engine-option", "max_model_len"], "expected KEY=VALUE"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["sample", "--model", "somewhere", "--output", str(tmp_path / "s.jsonl"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_command_of_the_docs_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sampling.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("rewardranker sample --upstream")]
    output = tmp_path / "samples.jsonl"
    with FakeOpenAI(models=("only",)) as server:
        words = line.replace("http://localhost:8000/v1", server.url).replace("samples.jsonl", str(output)).split()
        assert main([*words[1:], "--limit", "2"]) == 0
    assert len(list(read_records(output, Sample))) == 2 * 16
