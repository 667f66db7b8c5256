"""`rewardranker rank` as a user calls it, with rankers that run programs and rankers that read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.cli import main
from rewardranker.config import ScratchModel
from rewardranker.evaluation import read_rankings
from rewardranker.models import new_llama
from rewardranker.ranking import GeneratedTests
from rewardranker.runs import read_records, write_records
from rewardranker.tokenization import train_tokenizer
from rewardranker.types import Sample, Task, Verdict

TASKS = [
    Task("inc", 'def inc(a):\n    """>>> inc(1)\n    2\n    """\n', entry_point="inc", tests=("assert inc(5) == 6",)),
    Task("two", "def two():\n", entry_point="two", tests=("assert two() == 2",)),
]
BODIES = {"inc": ["    return a + 1\n", "    return 2\n", "    return (\n"], "two": ["    return 2\n"] * 3}
FAST = ("launch.judge_workers=1", "judge.timeout=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples = [
        Sample(task.task_id, n, body, body, task.prompt + body)
        for task in TASKS
        for n, body in enumerate(BODIES[task.task_id])
    ]
    verdicts = [Verdict(s.task_id, s.sample_id, s.sample_id == 0, "passed") for s in samples]
    tests = [
        GeneratedTests("inc", ("assert inc(1) == 2", "assert inc(2) == 3"), (2, 1), 2),
        GeneratedTests("two", ("assert two() == 2",), (1,), 1),
    ]
    for name, rows in {"tasks": TASKS, "samples": samples, "verdicts": verdicts, "tests": tests}.items():
        write_records(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def rank(folder: Path, *arguments: str) -> int:
    places = [str(folder / argument[1:]) if argument.startswith("@") else argument for argument in arguments]
    files = [str(folder / "samples.jsonl"), "--tasks", str(folder / "tasks.jsonl")]
    return main(["rank", *files, "--output", str(folder / "rankings.jsonl"), *places, *FAST])


def scores(folder: Path) -> list[tuple[float, ...]]:
    (rankings,) = read_rankings(folder / "rankings.jsonl").values()
    return [ranking.scores for ranking in rankings]


def test_codet_runs_the_programs_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rank(folder, "--ranker", "codet", "--generated-tests", "@tests.jsonl") == 0
    assert scores(folder) == [(3, 2, 0), (3**0.5,) * 3]
    # The three programs of `two` are one.
    assert "programs executed 4" in capsys.readouterr().out
    (evidence,) = folder.glob("rankings.test-verdicts-*.jsonl")
    before = evidence.read_bytes()  # with the seconds that each run took
    assert rank(folder, "--ranker", "b4+0.5*codet", "--generated-tests", "@tests.jsonl") == 0
    assert evidence.read_bytes() == before


def test_outputs_on_the_tasks_own_inputs(folder: Path) -> None:
    assert rank(folder, "--ranker", "mbr", "--inputs", "tests") == 0
    assert scores(folder) == [(1, 1, 0), (3, 3, 3)]


def test_prune_uses_the_test_that_the_task_shows(folder: Path) -> None:
    assert rank(folder, "--ranker", "prune+shortest") == 0
    assert scores(folder)[0] == (-len(BODIES["inc"][0]), -len(BODIES["inc"][1]), float("-inf"))


def test_samples_of_two_draws_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "samples.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines(keepends=True)[0])
    assert rank(folder, "--ranker", "shortest") == 3
    assert "two samples of task 'inc' have the id 0" in capsys.readouterr().err
    assert not (folder / "rankings.jsonl").exists()


def test_the_best_of_a_tie_is_drawn_by_lot(folder: Path) -> None:
    write_records(folder / "tasks.jsonl", [Task(f"t{n}", "", tests="assert f()") for n in range(40)])
    write_records(folder / "samples.jsonl", [Sample(f"t{n}", i, "", "", "") for n in range(40) for i in range(2)])
    assert rank(folder, "--ranker", "random", "--best", "@best.jsonl") == 0
    chosen = [sample.sample_id for sample in read_records(folder / "best.jsonl", Sample)]
    assert 10 < sum(chosen) < 30
    assert rank(folder, "--ranker", "random", "--best", "@again.jsonl") == 0
    assert (folder / "again.jsonl").read_bytes() == (folder / "best.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "give either --ranker or --reward"),
        (("--ranker", "codet", "--reward", "x"), 2, "give either --ranker or --reward"),
        (("--ranker", "codett"), 2, "did you mean 'codet'"),
        (("--ranker", "codet"), 3, "need generated tests"),
        (("--ranker", "mbr"), 3, "inputs of the tasks' own tests"),
        (("--ranker", "oracle"), 3, "verdicts on the tasks' tests"),
        (("--ranker", "logprob"), 3, "token log-probabilities"),
        (("--ranker", "reward:nowhere"), 4, "no such folder"),
        (("--ranker", "codet", "--generated-tests", "@missing.jsonl"), 3, "missing.jsonl: no such file"),
    ],
)
def test_what_is_missing_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, message: str
) -> None:
    assert rank(folder, *arguments) == status
    assert message in capsys.readouterr().err
    assert not (folder / "rankings.jsonl").exists()


def test_the_oracle_reads_verdicts(folder: Path) -> None:
    assert rank(folder, "--ranker", "oracle", "--verdicts", "@verdicts.jsonl") == 0
    assert scores(folder) == [(1, 0, 0), (1, 0, 0)]


def test_models_that_read_and_write(folder: Path) -> None:
    """A model that knows nothing: its likelihoods rank, the tests it writes are none, so that codet ties."""
    tokenizer = train_tokenizer([task.prompt for task in TASKS], 300)
    options = ScratchModel(hidden_size=32, layers=1, heads=2, intermediate_size=64, vocabulary=300)
    model = str(folder / "model")
    new_llama(options, tokenizer, seed=0).save_pretrained(model)
    tokenizer.save_pretrained(model)
    assert rank(folder, "--ranker", f"coder-reviewer:{model}", "--dry-run") == 0
    assert not (folder / "rankings.jsonl").exists()
    assert rank(folder, "--ranker", f"coder-reviewer:{model}") == 0
    inc, two = scores(folder)
    assert len(set(inc)) == 3
    assert len(set(two)) == 1
    written = ("--tests-model", model, "--tests-texts", "2", "sampling.max_new_tokens=8")
    assert rank(folder, "--ranker", "codet", *written) == 0
    assert scores(folder) == [(0, 0, 0), (0, 0, 0)]
    rows = [json.loads(line) for line in (folder / "rankings.generated-tests.jsonl").read_text().splitlines()]
    assert [(row["task_id"], row["texts"]) for row in rows] == [("inc", 2), ("two", 2)]


def test_all_rankers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rank", "--list"]) == 0
    assert {"codet", "mbr", "coder-reviewer:MODEL", "prune+..."} <= {
        line.split()[0] for line in capsys.readouterr().out.splitlines()
    }
