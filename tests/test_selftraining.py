"""The loop as a whole, on tasks small enough that it runs in seconds: every model, program and process is real."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path

import pytest
import yaml

from rewardranker.cli import main
from rewardranker.runs import read_records, write_records
from rewardranker.types import PreferenceGroup, Sample, Task, Verdict

FORKED = multiprocessing.get_context("forkserver")
"""Forks processes off one that has imported the loop, which alone takes longer than a stage here."""
WORDS = ("Return {} and {}.", "Give back {} and {}.", "The answer is {} and {}.", "Always return {} and {}.")


def digit_tasks(count: int, seed: int, name: str) -> list[Task]:
    """Functions that return the digits of their docstring; of the training solutions 4 in 10 are off by one, as scraped
    ones are."""
    rng = random.Random(seed)
    tasks = []
    for number in range(count):
        first, second = rng.randint(2, 8), rng.randint(2, 8)
        written = second + (rng.random() < 0.4)
        tasks.append(
            Task(
                task_id=f"{name}/{number}",
                prompt=f'def f():\n    """{rng.choice(WORDS).format(first, second)} {name} {number}."""\n',
                entry_point="f",
                tests=(f"assert f() == [{first}, {second}]",),
                reference=f"    return [{first}, {written}]\n" if name == "train" else None,
            )
        )
    return tasks


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    for name, count in (("train", 1000), ("validation", 16), ("evaluation", 24)):
        write_records(folder / f"{name}.jsonl", digit_tasks(count, len(name), name))
    values = {
        "name": "digits",
        "model": {"scratch": {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 48, "vocabulary": 300}},
        "tasks": {name: str(folder / f"{name}.jsonl") for name in ("train", "validation", "evaluation")},
        "sft": {"learning_rate": 5e-3, "epochs": 5, "batch_tokens": 1024, "save_steps": 20},
        "sampling": {"n": 4, "max_new_tokens": 12, "batch_tasks": 8},
        "reward": {"pooling": "sum", "learning_rate": 3e-3, "epochs": 2, "batch_tokens": 1024, "save_steps": 4},
        "ppo": {
            "steps": 4, "evaluate_every": 2, "tasks_per_step": 8, "minibatches": 2, "max_new_tokens": 12,
            "learning_rate": 1e-3, "validation_samples": 2,
        },
        "loop": {"sampled_tasks": 48},
        "evaluation": {"n": 4, "bootstrap": 100},
        "launch": {"threads": 1, "judge_workers": 1},
    }  # fmt: skip
    path = folder / "digits.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        FORKED.set_forkserver_preload(["rewardranker.cli.run", "rewardranker.selftraining", "rewardranker.measuring"])
        yield


def rewardranker(arguments: list[str], errors: str) -> None:
    """The command in a process and a session of its own, which can be killed."""
    os.setsid()
    with open(errors, "ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.exit(main(arguments))


def start(recipe: Path, run: Path) -> Process:
    arguments = ["run", "--config", str(recipe), "--output-dir", str(run)]
    process = FORKED.Process(target=rewardranker, args=(arguments, str(errors_of(run))))
    process.start()
    return process


def errors_of(run: Path) -> Path:
    return run.with_name(run.name + ".stderr")


def end(process: Process, run: Path) -> None:
    """Wait for a run that has to succeed."""
    process.join(280)
    assert process.exitcode == 0, errors_of(run).read_text()


@pytest.fixture(scope="module")
def undisturbed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    end(start(recipe, run), run)
    return run


def outcome(run: Path) -> dict[str, object]:
    """Everything a run decided: records and figures without timings."""
    found: dict[str, object] = {}
    for path in sorted(run.rglob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        timed = ("seconds", "cpu_seconds", "peak_memory_mb", "eps", "cached")
        found[str(path.relative_to(run))] = [
            {key: value for key, value in row.items() if key not in timed and not key.startswith("seconds/")}
            for row in rows
        ]
    figures = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    found["figures"] = {key: figures[key] for key in ("populations", "differences", "notes")}
    return found


def test_every_figure_has_an_interval_and_its_baselines(undisturbed: Path) -> None:
    figures = json.loads((undisturbed / "evaluation.json").read_text(encoding="utf-8"))
    assert [population["key"] for population in figures["populations"]] == ["sft", "policy-1", "policy-2"]
    for population in figures["populations"]:
        rankers = {ranker["key"]: ranker for ranker in population["rankers"]}
        calibrated = [found["ranker"] for found in population["calibration"]]
        assert calibrated == ["logprob", "reward-2", "reward-2+logprob"]
        assert {"greedy", "mean", "logprob", "reward-1", "reward-2", "reward-2+logprob", "oracle"} <= set(rankers)
        for ranker in rankers.values():
            assert ranker["low"] <= ranker["mean"] <= ranker["high"]
            assert rankers["oracle"]["mean"] >= ranker["mean"] - 1e-9 or ranker["key"] == "greedy"


def test_a_run_leaves_its_plots_beside_the_page(undisturbed: Path) -> None:
    names = {file.name for file in (undisturbed / "plots").iterdir()}
    assert {"best-of-n-sft.svg", "best-of-n-sft.png", "calibration-policy-2.svg"} <= names
    assert 'id="scores"' in (undisturbed / "report.html").read_text(encoding="utf-8")


def test_mined_programs_join_the_preference_data_with_their_provenance(undisturbed: Path) -> None:
    groups = read_records(undisturbed / "round-2" / "groups.jsonl", PreferenceGroup)
    mined = [c for group in groups for c in group.candidates if c.origin in ("hard_negative", "positive")]
    assert mined
    for candidate in mined:
        assert candidate.round == 2
        assert candidate.model == "round-1/ppo/policy"
        assert candidate.mined_score is not None
        assert candidate.passed == (candidate.origin == "positive")


def test_verdicts_are_those_of_the_tests(undisturbed: Path) -> None:
    digits = {task.task_id: task.tests for task in read_records(undisturbed / "tasks" / "train.jsonl", Task)}
    samples = list(read_records(undisturbed / "round-1" / "samples.jsonl", Sample))
    verdicts = list(read_records(undisturbed / "round-1" / "verdicts.jsonl", Verdict))
    assert len(samples) == len(verdicts) == 48 * 4
    assert {v.passed for v in verdicts} == {True, False}
    for sample, verdict in zip(samples, verdicts, strict=True):
        expected = f"assert f() == {sample.completion.strip().removeprefix('return ')}"
        assert verdict.passed == (digits[sample.task_id] == (expected,))


def test_the_last_reranker_loads_from_the_run_directory(undisturbed: Path) -> None:
    from rewardranker import RewardRanker

    ranked = RewardRanker.from_pretrained(undisturbed).rank(
        "def f():\n", ["    return [3, 4]\n", "    return [4, 3]\n"]
    )
    assert sorted(item["corpus_id"] for item in ranked) == [0, 1]


def kill(process: Process) -> None:
    """kill -9 of the process and of all in its session."""
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def test_kills_change_no_record(recipe: Path, undisturbed: Path, tmp_path: Path) -> None:
    """kill -9 in every stage, of the process and of its judge; the same command ends with the same records."""
    run = tmp_path / "killed"
    # The files whose appearance shows that a stage is under way; each is followed by a kill.
    signs = [
        "tasks/train.jsonl",
        "sft.checkpoints/checkpoint-20",
        "round-1/samples.jsonl",
        "round-1/verdicts.jsonl",
        "round-1/groups.jsonl",
        "round-1/reward.checkpoints",
        "round-1/ppo/metrics.jsonl",
        "round-2/samples.jsonl",
        "round-2/groups.jsonl",
        "round-2/reward",
        "round-2/ppo/metrics.jsonl",
        "validation/sft/samples.jsonl",
        "evaluation/policy-1/verdicts.jsonl",
        "evaluation/policy-2/scores.jsonl",
    ]
    kills = 0
    for sign in signs:
        process = start(recipe, run)
        deadline = time.monotonic() + 120
        while not (run / sign).exists() and process.is_alive():
            assert time.monotonic() < deadline, f"{sign} never appeared"
            time.sleep(0.005)
        if process.is_alive():
            kill(process)
            kills += 1
    assert kills == len(signs)
    end(start(recipe, run), run)
    assert outcome(run) == outcome(undisturbed)


def test_a_second_run_in_the_same_directory_is_told(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start(recipe, run)
    while not (run / "tasks").exists() and first.is_alive():
        time.sleep(0.005)
    second = start(recipe, run)
    second.join(60)
    kill(first)
    assert second.exitcode == 8
    assert f"in use by process {first.pid}" in errors_of(run).read_text()


def test_the_python_example_of_the_readme_runs(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(undisturbed)
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "RewardRanker" in code]
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("return min((5 - x for x in xs" in line for line in lines)


def test_ablations_control_what_they_say(
    recipe: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewardranker import ablations
    from rewardranker.config import load_recipe
    from rewardranker.progress import Silent
    from rewardranker.selftraining import open_loop

    run = shutil.copytree(undisturbed, tmp_path / "run", symlinks=True)
    monkeypatch.setattr(ablations, "LARGER", {"hidden_size": 48, "heads": 2, "intermediate_size": 64})
    monkeypatch.setattr(ablations, "KL_WEIGHTS", (0.05, 0.5))
    with open_loop(load_recipe(recipe), run, Silent()) as loop:
        found = ablations.arms(loop)
        hard, _ = loop.mined(2)
    wrong, right = sum(len(g.wrong) for g in hard), sum(len(g.correct) for g in hard)
    counts = {arm: (f["sft"]["negatives"], f["sft"]["positives"]) for arm, f in found.items() if "model 2," in arm}
    assert counts["reward model 2, random negatives"] == (wrong, right)
    assert counts["reward model 2, hard negatives only"] == (wrong, 0)
    assert all(n <= limit for n, limit in zip(counts["reward model 2, SFT samples"], (wrong, right), strict=True))
    assert found["larger generator"]["greedy"]["parameters"] > 30_000
    assert found["PPO of round 1, KL 0.5"]["policy"] != found["PPO of round 1, KL 0.05"]["policy"]


def test_a_policy_that_is_the_generator_draws_other_programs(
    recipe: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewardranker.config import load_recipe
    from rewardranker.progress import Silent
    from rewardranker.runs import RunDirectory
    from rewardranker.selftraining import Loop

    options = load_recipe(recipe)
    run = RunDirectory(undisturbed, "run", options.model_dump(mode="json"))
    loop = Loop(options, run, None, Silent())  # type: ignore[arg-type]
    for step, seeds in ((0, [0, 10]), (2, [0, 0])):
        monkeypatch.setattr(run, "figures", lambda name, step=step: {"step": step})
        assert [loop.sampling(round).seed for round in (1, 2)] == seeds
