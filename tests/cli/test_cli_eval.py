"""`rewardranker eval` as a user calls it: samples in, judged where needed, figures in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rewardranker.cli import main
from rewardranker.evaluation import read_evaluation, read_rankings
from rewardranker.execution import opening
from rewardranker.report.content import read_content
from rewardranker.runs import read_records, write_records
from rewardranker.types import Sample, Task, Verdict

BODIES = {"add": ["a + b", "a - b", "b + a", "a * b"], "sub": ["a - b", "a + b", "b - a", "0"]}
TASKS = [
    Task(
        name,
        f"def {name}(a, b):\n    return ",
        entry_point=name,
        tests=(f"assert {name}(5, 2) == {5 + 2 if name == 'add' else 5 - 2}",),
        metadata={"difficulty": "easy" if name == "add" else "hard"},
    )
    for name in BODIES
]
SAMPLES = [
    Sample(t.task_id, k, body, body, t.prompt + body, (k, 1), (-0.5 * k, -1.0), model="m")
    for t in TASKS
    for k, body in enumerate(BODIES[t.task_id])
]
PASSED = {"add": [True, False, True, False], "sub": [True, False, False, False]}
VERDICTS = [
    Verdict(s.task_id, s.sample_id, PASSED[s.task_id][s.sample_id], "passed or not", tests_total=1) for s in SAMPLES
]
FAST = ("evaluation.bootstrap=100", "launch.judge_workers=1")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_records("tasks.jsonl", TASKS)
    write_records("samples.jsonl", SAMPLES)
    write_records("verdicts.jsonl", VERDICTS)
    return tmp_path


def run(*arguments: str, verdicts: bool = True, output: str = "out") -> int:
    judged = ("--verdicts", "verdicts.jsonl") if verdicts else ()
    given = ("--tasks", "tasks.jsonl", "--samples", "samples.jsonl", *judged, "--output", output)
    return main(["eval", *given, *arguments, *FAST])


def test_programs_without_verdicts_are_judged_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verdicts=False) == 0
    found = {(v.task_id, v.sample_id): v.passed for v in read_records("out/verdicts.jsonl", Verdict)}
    assert found == {(v.task_id, v.sample_id): v.passed for v in VERDICTS}
    figures = read_evaluation("out")
    assert (figures.tasks, figures.samples, figures.n, figures.model) == (2, 8, 4, "m")
    assert figures.figures("mean of n") == (0.5, 0.25)
    assert figures.figures("mean-logprob") == (1.0, 1.0)
    assert figures.figures("shortest") == (0.5, 0.0)
    assert figures.inputs["tasks"].startswith("tasks.jsonl (")
    assert (folder / "out/evaluation.md").read_text() in capsys.readouterr().out
    before = (folder / "out/verdicts.jsonl").stat().st_mtime_ns
    assert run("--rankers", "random, first", verdicts=False) == 0
    assert (folder / "out/verdicts.jsonl").stat().st_mtime_ns == before
    assert [q.ranker for q in read_evaluation("out").quality] == ["random", "first"]


def test_rankers_by_execution_get_what_they_need(folder: Path) -> None:
    """Of add two programs agree and pass the generated test; of sub one agrees with nothing but fails nothing."""
    tests = [
        {"task_id": "add", "tests": ["assert add(1, 3) == 4", "assert add(1, 3) == 9"], "counts": [2, 1]},
        {"task_id": "sub", "tests": ["assert sub(1, 3) == -2"], "counts": [1]},
    ]
    (folder / "generated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tests))
    assert run("--rankers", "codet,mbr,ours=0.5*codet+shortest", "--generated-tests", "generated.jsonl") == 0
    figures = read_evaluation("out")
    assert figures.figures("codet") == (1.0, 1.0)
    assert figures.figures("mbr")[0] == 1.0
    assert [q.ranker for q in figures.quality] == ["codet", "mbr", "ours"]
    row = next(row for row in figures.rows if (row.ranker, row.n) == ("codet", 4))
    assert row.programs == 4.0
    assert set(read_rankings("out/rankings.jsonl")) == {"codet", "mbr", "ours"}


def test_what_rankers_share_is_got_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that several read, and the programs that several run; one that none of the next needs is let go."""
    loaded: list[str] = []

    class Constant:
        def log_likelihoods(self, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(len(pairs)), np.ones(len(pairs), np.int64)

    monkeypatch.setattr("rewardranker.models.load_causal_lm", lambda name, *_: (loaded.append(name), None))
    monkeypatch.setattr("rewardranker.generation.likelihood.CausalLikelihood", lambda *_: Constant())
    opened: list[str] = []
    judge = opening.open_judge
    monkeypatch.setattr(opening, "open_judge", lambda *options: (opened.append("judge"), judge(*options))[1])
    for name in ("one", "two"):
        (folder / name).mkdir()
    by_model = "likelihood:one,mean-likelihood:one,reviewer:two,likelihood:one+likelihood:two"
    assert run("--rankers", f"{by_model},mbr,majority", "--inputs", "tests") == 0
    assert loaded == ["one", "two", "one"]
    assert opened == ["judge"]


def test_rankers_by_outputs_can_use_the_inputs_of_the_tasks_tests() -> None:
    assert run("--rankers", "majority", "--inputs", "tests") == 0
    assert read_evaluation("out").figures("majority")[0] == 1.0
    assert run("--rankers", "codet", output="other") == 3  # but no tests were generated


def test_scores_made_elsewhere_are_measured_too(folder: Path) -> None:
    rows = [
        {"task_id": t, "ranker": "theirs", "sample_ids": [3, 2, 1, 0], "scores": [-1.7976931348623157e308, 0, 1, 2]}
        for t in BODIES
    ]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("--rankings", "scores.jsonl") == 0
    figures = read_evaluation("out")
    assert figures.figures("theirs") == (1.0, 1.0)
    assert next(q for q in figures.quality if q.ranker == "theirs").infinite_scores == 2


def test_the_page_shows_the_scores_made_elsewhere(folder: Path) -> None:
    """Also where that file has scores of samples that are not measured."""
    rows = [
        {"task_id": "add", "ranker": "theirs", "sample_ids": [9, 3, 2, 1, 0], "scores": [9, 3, 2, 1, 0]},
        {"task_id": "sub", "ranker": "theirs", "sample_ids": [0, 1, 2, 3], "scores": [4, 5, 6, 7]},
        {"task_id": "other", "ranker": "theirs", "sample_ids": [0], "scores": [1]},
    ]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("--rankers", "mean-logprob", "--rankings", "scores.jsonl") == 0
    programs = read_content("out").programs
    assert programs is not None
    assert programs.rankers == ["mean-logprob", "theirs"]
    assert [program.scores["theirs"] for program in programs.programs] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert any("2 scores of 'theirs'" in note for note in read_evaluation("out").notes)


def test_greedy_programs_are_a_row_and_a_baseline() -> None:
    greedy = [Sample(s.task_id, 0, "", s.completion, s.program, model="m") for s in SAMPLES if s.sample_id == 1]
    write_records("greedy.jsonl", greedy)
    assert run("--greedy", "greedy.jsonl") == 0
    figures = read_evaluation("out")
    assert figures.figures("greedy") == (0.0, 0.0)
    assert {d.baseline for d in figures.differences} == {"mean of n", "greedy", "mean-logprob"}


def test_another_evaluation_of_the_same_tasks_is_compared() -> None:
    assert run() == 0
    assert run("--against", "out", "--n", "2", output="again") == 0
    (other,) = read_evaluation("again").against
    assert (other.path, other.model, {d.mean for d in other.differences}) == ("out", "m", {0.0})


def test_best_of_n_is_asked_for_by_option_or_recipe() -> None:
    assert run("--n", "2") == 0
    assert (read_evaluation("out").n, read_evaluation("out").ns) == (2, [1, 2, 4])
    assert run("evaluation.n=3") == 0
    assert read_evaluation("out").n == 3


BAD: dict[str, tuple[str, int, str]] = {
    "cut-off last line": ("samples.jsonl:8: the last line is cut off", 3, "samples"),
    "verdicts of fewer samples": ("1 sample without verdict", 3, "verdicts"),
}


@pytest.mark.parametrize("case", BAD)
def test_broken_files_are_told_before_anything_is_written(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message, status, name = BAD[case]
    path = folder / f"{name}.jsonl"
    text = path.read_text()
    path.write_text(text[:-40] if name == "samples" else "".join(text.splitlines(keepends=True)[:-1]))
    assert run() == status
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()
    path.write_text(text)
    assert run() == 0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("[0, 1, 2]", "scores.jsonl: 1 sample without score of 'theirs' (task 'add' sample 3): rank these samples"),
        ("[0, 1, 2, NaN]", "scores.jsonl: a score of 'theirs' for task 'add' is NaN"),
    ],
)
def test_scores_that_do_not_fit_are_told_before_any_ranker_runs(
    scores: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("add", scores), ("sub", "[0, 1, 2, 3]")]
    ids = {3: "[0, 1, 2]", 4: "[0, 1, 2, 3]"}
    text = '{{"task_id": "{}", "ranker": "theirs", "sample_ids": {}, "scores": {}}}\n'
    lines = [text.format(task, ids[found.count(",") + 1], found) for task, found in rows]
    (folder / "scores.jsonl").write_text("".join(lines))
    assert run("--rankings", "scores.jsonl") == 3
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_what_can_be_told_without_verdicts_is_told_before_judging(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records("samples.jsonl", SAMPLES[:-1])
    assert run("--n", "4", verdicts=False) == 3
    assert "1 task of 2 with fewer than 4 samples" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_a_task_without_samples_is_refused_or_left_out_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    write_records("tasks.jsonl", [*TASKS, Task("mul", "def mul(a, b):\n    return ", entry_point="mul")])
    assert run() == 3
    assert "1 task of 3 with fewer than 1 samples" in capsys.readouterr().err
    assert run("--limit", "2") == 0
    assert run("--drop-incomplete", output="dropped") == 0
    assert read_evaluation("dropped").dropped == ("mul",)


def test_more_than_there_is_can_not_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--n", "5") == 3
    assert "4 samples at most but 5 are asked for" in capsys.readouterr().err


def test_a_folder_is_of_one_set_of_samples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    write_records("samples.jsonl", [Sample(**{**_fields(s), "program": s.program + "\n"}) for s in SAMPLES])
    assert run() == 8
    assert "was started with other options: inputs.samples" in capsys.readouterr().err


def _fields(sample: Sample) -> dict[str, object]:
    return {name: getattr(sample, name) for name in Sample.__dataclass_fields__}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--rankers", "codett"), 2, "did you mean 'codet'?"),
        (("--rankers", "reward:./nowhere"), 4, "model './nowhere': no such folder"),
        (("--model", "m"), 2, "give either --samples, or --model"),
        (("--greedy-verdicts", "verdicts.jsonl"), 2, "--greedy-verdicts with --greedy"),
        (("--rankings", "none.jsonl"), 3, "none.jsonl: no such file"),
        (("--baseline", "nobody"), 3, "baseline 'nobody' is not among the rankers"),
        (("--against", "nowhere"), 3, "evaluation.json: no such file"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: tuple[str, ...], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == status
    assert message in capsys.readouterr().err
