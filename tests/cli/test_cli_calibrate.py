"""`rewardranker calibrate` as a user calls it: from files, and drawing from a run's own generator."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from rewardranker.cli import main
from rewardranker.config import ScratchModel
from rewardranker.evaluation import write_rankings
from rewardranker.models import new_llama
from rewardranker.reward.model import RewardSettings, from_causal_lm, save_reward_model
from rewardranker.runs import read_records, write_records
from rewardranker.serving.adaptive import AdaptiveStop
from rewardranker.tokenization import train_tokenizer
from rewardranker.types import Ranking, Sample, Task, Verdict

TASKS = [Task(f"t{i}", f"def f{i}():\n", entry_point=f"f{i}", tests=(f"assert f{i}() == 1",)) for i in range(24)]
FAST = ("evaluation.bootstrap=50", "launch.judge_workers=1", "launch.threads=1", "sampling.max_new_tokens=4")
COUNTS = ("--best-of", "4", "--n", "6")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Samples of which two in three of every other task pass, known by their scores."""
    monkeypatch.chdir(tmp_path)
    write_records("tasks.jsonl", TASKS)
    rng = np.random.default_rng(0)
    passed = rng.random((24, 8)) < np.where(np.arange(24) % 2, 0.9, 0.3)[:, None]
    bodies = np.where(passed, "    return 1\n", "    return 2\n")
    samples = [
        Sample(t.task_id, k, body, body, t.prompt + body, (1, 2, 3)[: k % 3 + 1], model="m")
        for t, row in zip(TASKS, bodies.tolist(), strict=True)
        for k, body in enumerate(row)
    ]
    write_records("samples.jsonl", samples)
    flat = passed.ravel().tolist()
    write_records(
        "verdicts.jsonl",
        [Verdict(s.task_id, s.sample_id, ok, "passed or not") for s, ok in zip(samples, flat, strict=True)],
    )
    scored = zip(TASKS, passed.tolist(), strict=True)
    rankings = [Ranking(task.task_id, "r", tuple(range(8)), tuple(map(float, row))) for task, row in scored]
    write_rankings("rankings.jsonl", rankings)
    return tmp_path


def from_files(*arguments: str, output: str = "out") -> int:
    files = ("--samples", "samples.jsonl", "--verdicts", "verdicts.jsonl", "--rankings", "rankings.jsonl")
    return main(
        ["calibrate", "--tasks", "tasks.jsonl", *files, "--best-of", "8", "--output", output, *arguments, *FAST]
    )


def test_fits_to_files_and_says_what_it_is_worth(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert from_files() == 0
    printed = capsys.readouterr().out
    assert (folder / "out/calibration.md").read_text() in printed
    rule = AdaptiveStop.from_file("out")
    curve = json.loads((folder / "out/calibration.json").read_text())
    assert curve["schema"] == "rewardranker.adaptive-curve/1"
    assert curve["threshold"] == rule.threshold
    assert [row["n"] for row in curve["fixed"]] == [1, 2, 4, 8]
    assert curve["fixed"][0]["quality"]["mean"] == pytest.approx(
        np.mean([v.passed for v in read_records("verdicts.jsonl", Verdict)])
    )
    assert rule.fitted["tasks"] == 24
    assert rule.fitted["measured"]["on"] == "24 tasks (cross-fitted)"
    assert rule.gain([0.0, 0.0], ["a", "b"]) > 0.1 > rule.gain([1.0, 1.0], ["a", "a"])


def test_another_threshold_is_taken_from_the_same_folder(folder: Path) -> None:
    assert from_files() == from_files("--threshold", "0.25", "--first-step", "1", "--step", "3") == 0
    rule = AdaptiveStop.from_file("out")
    assert (rule.threshold, rule.first_step, rule.step) == (0.25, 1, 3)
    assert "**adaptive, 0.25**" in (folder / "out/calibration.md").read_text()


@pytest.fixture
def run_dir(folder: Path) -> Path:
    """A run directory as the loop leaves it, of random models."""
    tokenizer = train_tokenizer([task.prompt + "    return 12\n" for task in TASKS], 300)
    options = ScratchModel(hidden_size=32, layers=1, heads=2, intermediate_size=64, vocabulary=300)
    run = folder / "run"
    new_llama(options, tokenizer, seed=0).save_pretrained(run / "round-1/ppo/policy")
    tokenizer.save_pretrained(run / "round-1/ppo/policy")
    reward = from_causal_lm(new_llama(options, tokenizer, seed=1), tokenizer, seed=0)
    save_reward_model(reward, tokenizer, RewardSettings(), run / "round-1/reward")
    write_records(run / "tasks/evaluation.jsonl", [Task(f"held out {i}", "def f():\n") for i in range(20)])
    sets = {"train": "synthetic:train", "validation": str(folder / "tasks.jsonl"), "evaluation": "synthetic:test"}
    recipe = {"tasks": sets, "loop": {"rounds": 1}}
    (run / "recipe.yaml").write_text(json.dumps(recipe))
    return run


def calibrate(run_dir: Path, *arguments: str) -> int:
    return main(["calibrate", "--run", str(run_dir), *COUNTS, *arguments, *FAST])


def test_draws_judges_and_scores_once_and_leaves_the_rule_beside_the_reward_model(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(run_dir, "--dry-run") == 0
    assert not (run_dir / "calibration").exists()
    assert calibrate(run_dir) == 0
    assert AdaptiveStop.from_file(run_dir / "round-1/reward") == AdaptiveStop.from_file(run_dir / "calibration")
    drawn = run_dir / "calibration/fit/samples.jsonl"
    assert len(list(read_records(drawn, Sample))) == 24 * 6
    before = drawn.stat().st_mtime_ns
    capsys.readouterr()
    assert calibrate(run_dir, "--threshold", "0.5") == 0
    assert drawn.stat().st_mtime_ns == before
    assert "sample:" not in capsys.readouterr().err
    assert AdaptiveStop.from_file(run_dir / "round-1/reward").threshold == 0.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--tasks", "synthetic:test"), "is the recipe's tasks.evaluation"),
        (("--tasks", "synthetic:train"), "is the recipe's tasks.train"),
        (("--tasks", "run/tasks/evaluation.jsonl"), r"20 tasks are in .*evaluation.jsonl \(first: 'held out 0'\)"),
        (("--measure-on", "tasks.jsonl"), "24 tasks of --measure-on are fitted on"),
        (("--limit", "7"), "7 tasks are too few"),
        (("--best-of", "7"), "larger --n"),
    ],
)
def test_what_would_make_its_figures_wrong_is_refused(
    run_dir: Path, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(run_dir, *arguments) != 0
    assert re.search(told, capsys.readouterr().err)
    assert not (run_dir / "round-1/reward/adaptive.json").exists()
