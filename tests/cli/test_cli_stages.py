"""The stages by hand: each command's output is the next one's input, on a real, tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.cli import main
from rewardranker.preference import read_groups
from rewardranker.runs import read_records
from rewardranker.types import Ranking, Sample, Task, Verdict

RECIPE = """
name: tiny
model: {scratch: {hidden_size: 32, layers: 1, heads: 2, intermediate_size: 64, vocabulary: 300}}
tasks: {train: TASKS, validation: TASKS, evaluation: TASKS, corpus_size: 200}
sft: {learning_rate: 3.0e-3, epochs: 1, max_length: 256}
sampling: {n: 3, max_new_tokens: 16}
reward: {learning_rate: 1.0e-3, max_length: 256}
ppo: {steps: 1, tasks_per_step: 4, samples_per_task: 1, minibatches: 1, evaluate_every: 1, validation_samples: 1,
      max_new_tokens: 16}
evaluation: {n: 3, bootstrap: 50}
launch: {threads: 1, judge_workers: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks, the recipe that names them, and a generator."""
    folder = tmp_path_factory.mktemp("stages")
    tasks = folder / "tasks.jsonl"
    assert main(["tasks", "synthetic:train", "--limit", "6", "--output", str(tasks)]) == 0
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.replace("TASKS", str(tasks)))
    sft = ["tasks.train=synthetic:train", "--output-dir", str(folder / "sft")]
    assert main(["sft", "--config", str(recipe), *sft]) == 0
    return folder


def stage(folder: Path, name: str, *arguments: str) -> int:
    places = [str(folder / argument[1:]) if argument.startswith("@") else argument for argument in arguments]
    return main([name, *places, "--config", str(folder / "recipe.yaml")])


@pytest.fixture(scope="module")
def judged(folder: Path) -> Path:
    assert stage(folder, "sample", "--model", "@sft/model", "--output", "@samples.jsonl") == 0
    assert stage(folder, "judge", "@samples.jsonl", "--output", "@verdicts.jsonl") == 0
    return folder


@pytest.fixture(scope="module")
def rewarded(judged: Path) -> Path:
    grouped = ("@samples.jsonl", "@verdicts.jsonl", "preference.references=true", "--pairs", "@pairs.jsonl")
    assert stage(judged, "prefer", *grouped, "--output", "@groups.jsonl") == 0
    assert stage(judged, "reward", "@groups.jsonl", "--model", "@sft/model", "--output-dir", "@rw") == 0
    return judged


def test_every_sample_gets_a_verdict(judged: Path) -> None:
    samples = list(read_records(judged / "samples.jsonl", Sample))
    verdicts = list(read_records(judged / "verdicts.jsonl", Verdict))
    assert len(samples) == 6 * 3
    assert [(s.task_id, s.sample_id) for s in samples] == [(v.task_id, v.sample_id) for v in verdicts]


def test_sampling_again_goes_on_to_the_same_records(judged: Path) -> None:
    whole = (judged / "samples.jsonl").read_bytes()
    (judged / "again.jsonl").write_bytes(whole[: len(whole) // 2])
    assert stage(judged, "sample", "--model", "@sft/model", "--output", "@again.jsonl") == 0
    assert (judged / "again.jsonl").read_bytes() == whole


def test_references_are_the_correct_side_of_every_pair(rewarded: Path) -> None:
    groups = read_groups(rewarded / "groups.jsonl")
    pairs = [json.loads(line) for line in (rewarded / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == sum(group.pairs for group in groups) > 0
    assert {"prompt", "chosen", "rejected"} <= set(pairs[0])


def test_preferences_can_show_what_each_program_returned(judged: Path) -> None:
    """Samples and references are run on the inputs of the tests: what passes them returned what they expect."""
    files = ("@samples.jsonl", "@verdicts.jsonl", "preference.references=true", "--outcomes", "--inputs", "tests")
    assert stage(judged, "prefer", *files, "--output", "@shown.jsonl") == 0
    tests = {task.task_id: " ".join(task.tests) for task in read_records(judged / "tasks.jsonl", Task)}
    shown = 0
    for group in read_groups(judged / "shown.jsonl"):
        for candidate in group.candidates:
            lines = [line[2:] for line in candidate.completion.splitlines() if line.startswith("# ") and " -> " in line]
            assert len(lines) == 3
            expected = [line.replace(" -> ", " == ") in tests[group.task_id] for line in lines]
            assert all(expected) or not candidate.passed
            shown += candidate.passed
    assert shown
    assert stage(judged, "prefer", *files[:2], "--inputs", "tests", "--output", "@plain.jsonl") == 2


def test_a_finished_training_is_not_repeated_and_another_one_is_refused(
    rewarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = next((rewarded / "rw" / "reward").glob("*.safetensors"))
    before = weights.stat().st_mtime_ns
    again = ("@groups.jsonl", "--model", "@sft/model", "--output-dir", "@rw")
    assert stage(rewarded, "reward", *again) == 0
    assert weights.stat().st_mtime_ns == before
    assert stage(rewarded, "reward", *again, "reward.pooling=mean") == 8
    assert 'reward.pooling: was "last", now "mean"' in capsys.readouterr().err


def test_ranking_and_evaluation_of_the_same_samples(rewarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranked = ("@samples.jsonl", "--reward", "@rw", "--best", "@best.jsonl", "--output", "@rankings.jsonl")
    assert stage(rewarded, "rank", *ranked) == 0
    rankings = list(read_records(rewarded / "rankings.jsonl", Ranking))
    best = list(read_records(rewarded / "best.jsonl", Sample))
    for ranking, sample in zip(rankings, best, strict=True):
        scores = dict(zip(ranking.sample_ids, ranking.scores, strict=True))
        assert scores[sample.sample_id] == max(ranking.scores)
    capsys.readouterr()
    files = ("--samples", "@samples.jsonl", "--verdicts", "@verdicts.jsonl", "--rankings", "@rankings.jsonl")
    assert stage(rewarded, "eval", *files, "--output", "@figures") == 0
    table = capsys.readouterr().out
    assert all(f"| {ranker} |" in table for ranker in ("mean of n", "oracle", "shortest", "reward"))
    assert json.loads((rewarded / "figures" / "evaluation.json").read_text())["tasks"] == 6


def test_a_model_is_sampled_judged_and_measured_in_one_go(rewarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranker = f"r=reward:{rewarded / 'rw'}"
    ask = ("--model", "@sft/model", "--limit", "4", "--rankers", ranker, "--output", "@measured")
    assert stage(rewarded, "eval", *ask) == 0
    assert all(f"| {name} |" in capsys.readouterr().out for name in ["greedy"])
    document = json.loads((rewarded / "measured" / "evaluation.json").read_text())
    assert (document["tasks"], document["samples"], document["draw"]["temperature"]) == (4, 12, "1.0")
    assert [row["ranker"] for row in document["rows"] if row["n"] == 1] == ["mean of n", "greedy", "r", "oracle"]
    first = (rewarded / "measured" / "samples.jsonl").read_bytes()
    assert stage(rewarded, "eval", *ask) == 0
    assert (rewarded / "measured" / "samples.jsonl").read_bytes() == first


def test_mining_needs_a_reward_model_to_add_to_groups(rewarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("@samples.jsonl", "@verdicts.jsonl", "--groups", "@groups.jsonl", "--output", "@mined.jsonl")
    assert stage(rewarded, "prefer", *files) == 2
    assert "give --reward" in capsys.readouterr().err
    assert stage(rewarded, "prefer", *files, "--reward", "@rw") == 0
    assert {g.task_id for g in read_groups(rewarded / "mined.jsonl")} == {
        g.task_id for g in read_groups(rewarded / "groups.jsonl")
    }


def test_ppo_makes_a_policy_that_can_be_sampled(rewarded: Path) -> None:
    assert stage(rewarded, "ppo", "--model", "@sft/model", "--reward", "@rw", "--output-dir", "@ppo") == 0
    assert stage(rewarded, "sample", "--model", "@ppo/ppo/policy", "--limit", "1", "--output", "@policy.jsonl") == 0
    assert len(list(read_records(rewarded / "policy.jsonl", Sample))) == 3


def test_samples_of_other_tasks_are_refused(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = ("@samples.jsonl", "--tasks", "synthetic:test", "--output", "@other.jsonl")
    assert stage(judged, "judge", *other) == 3
    assert "Traceback" not in capsys.readouterr().err
