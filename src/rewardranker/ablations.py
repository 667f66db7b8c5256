"""What each part of the loop is worth: controls around finished loops, over several seeds.

Around the loop of every seed: rerankers of round 2 retrained on RANDOM on-policy wrong programs, on as many samples of
the SFT generator, and without the policy's correct programs; PPO under other KL weights; and the paper's headline at
this scale, a several times larger generator on the same data against small generator + small reranker, in quality and
in seconds a task. The first seed's loop is the run itself. Every arm is a stage of its loop's run directory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewardranker.config import Recipe, SamplingOptions
from rewardranker.errors import ConfigError
from rewardranker.evaluation import best_of_n, mean_pass
from rewardranker.measuring import Floats, Population, collect, distinct_share, generators, hard_pair_accuracy, measure
from rewardranker.models import new_llama
from rewardranker.policy import train_sft
from rewardranker.preference import merge_groups, mine, usable
from rewardranker.report import ablation_table, write_report
from rewardranker.reward import RewardRanker
from rewardranker.runs import read_records, write_json, write_records
from rewardranker.selftraining import Loop, open_loop
from rewardranker.tasks import sft_examples
from rewardranker.types import PreferenceGroup, ProgressReporter

KL_WEIGHTS = (0.02, 0.1)
LARGER = {"hidden_size": 256, "layers": 4, "heads": 4, "intermediate_size": 448}
"""Shape of the larger generator: 4.5 times the quickstart's parameters."""
LARGER_LEARNING_RATE = 0.5
"""Factor on `sft.learning_rate` for the larger generator, whose best rate is lower."""
TIMED_TASKS = 64
"""Evaluation tasks behind the seconds a task."""


def run_ablations(recipe: Recipe, output_dir: Path, seeds: int = 3, progress: ProgressReporter | None = None) -> Path:
    """Run the loops of all seeds and their arms, or go on with them; write `ablations.json` and print its table.

    Raises:
        ConfigError: the recipe has one round only, or a generator that is not trained from scratch.
    """
    if recipe.loop.rounds < 2 or recipe.model.generator != "scratch":
        raise ConfigError(
            "--ablations needs loop.rounds of 2 or more and model.generator=scratch: its arms retrain the second "
            "reward model and train a larger generator"
        )
    by_seed = []
    for seed in range(seeds):
        folder = output_dir if seed == 0 else output_dir / "seeds" / str(seed)
        with open_loop(with_seed(recipe, seed), folder, progress) as loop:
            loop.train()
            measure(loop)
            by_seed.append(arms(loop))
    rows = [
        {
            "arm": arm,
            "population": population,
            "figure": figure,
            "values": [f[arm][population][figure] for f in by_seed],
        }
        for arm, populations in by_seed[0].items()
        for population, figures in populations.items()
        for figure in figures
    ]
    document = {"seeds": seeds, "tasks": recipe.tasks.evaluation_limit, "rows": rows}
    write_json(output_dir / "ablations.json", document)
    write_report(output_dir)
    print(ablation_table(document))
    return output_dir


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with every random choice but those of tasks and corpus changed."""
    changes = {
        name: getattr(recipe, name).model_copy(update={"seed": getattr(recipe, name).seed + 1000 * seed})
        for name in ("sft", "sampling", "preference", "reward", "ppo")
    }
    return recipe.model_copy(update=changes)


Figures = dict[str, dict[str, dict[str, float]]]
"""arm -> population -> figure -> value."""


def arms(loop: Loop) -> Figures:
    """All arms around one finished loop."""
    populations = [collect(loop, key, model, "evaluation") for key, model in generators(loop).items()]
    found: Figures = {}
    for round in range(1, loop.recipe.loop.rounds + 1):
        found[f"reward model {round}"] = {
            population.key: reranked(population, population.scores[f"reward-{round}"]) for population in populations
        }
    for arm, groups in retraining_arms(loop).items():
        found[f"reward model 2, {arm}"] = retrained(loop, arm, groups, populations)
    for kl in KL_WEIGHTS:
        found[f"PPO of round 1, KL {kl:g}"] = {"policy": policy_under(loop, kl)}
    found |= headline(loop, populations)
    return found


# --- rerankers retrained on other data ------------------------------------------------------------------------------


def retraining_arms(loop: Loop) -> dict[str, Callable[[], list[PreferenceGroup]]]:
    """What each control adds to the preference data of round 1."""

    def mined(**changes: Any) -> list[PreferenceGroup]:
        options = loop.recipe.preference.model_copy(update=changes)
        return loop.varied(preference=options).mined(2)[0]

    return {
        "random negatives": lambda: mined(mining="random"),
        "hard negatives only": lambda: mined(positives=False),
        "SFT samples": lambda: as_many(sft_samples(loop), like=mined()),
    }


def sft_samples(loop: Loop) -> list[PreferenceGroup]:
    """Programs of the SFT generator on the tasks of round 2, drawn anew: no policy, no mining by score."""
    folder = loop.path / "ablations" / "sft-samples"
    options = loop.recipe.sampling.model_copy(update={"seed": loop.recipe.sampling.seed + 3})
    loop.sample_and_judge(loop.generator, loop.sampled_tasks, folder, options)
    samples, verdicts = loop.judged(folder)
    known = list(read_records(loop.round_dir(1) / "groups.jsonl", PreferenceGroup))
    preference = loop.recipe.preference.model_copy(update={"mining": "random"})
    groups, _ = mine(loop.sampled_tasks, samples, verdicts, [0.0] * len(samples), preference, round=2, known=known)
    return groups


def as_many(groups: Sequence[PreferenceGroup], like: Sequence[PreferenceGroup]) -> list[PreferenceGroup]:
    """Of each task at most as many correct and wrong programs as `like` has."""
    limits = {group.task_id: (len(group.correct), len(group.wrong)) for group in like}
    kept = []
    for group in groups:
        correct, wrong = limits.get(group.task_id, (0, 0))
        candidates = (*group.correct[:correct], *group.wrong[:wrong])
        if candidates:
            kept.append(PreferenceGroup(group.task_id, group.prompt, candidates))
    return kept


def retrained(
    loop: Loop, arm: str, groups: Callable[[], list[PreferenceGroup]], populations: Sequence[Population]
) -> dict[str, dict[str, float]]:
    """Train a reranker of round 2 on other data and rank the loop's own samples with it."""
    folder = loop.path / "ablations" / arm.replace(" ", "-")

    def prepare() -> dict[str, Any]:
        added = groups()
        old = list(read_records(loop.round_dir(1) / "groups.jsonl", PreferenceGroup))
        write_records(folder / "groups.jsonl", usable(merge_groups(old, added, loop.recipe.preference)))
        return {
            "negatives": sum(len(group.wrong) for group in added),
            "positives": sum(len(group.correct) for group in added),
        }

    def evaluate() -> dict[str, Any]:
        ranker = RewardRanker.from_pretrained(folder / "reward", loop.device)
        return {population.key: reranked(population, scored(ranker, population)) for population in populations}

    counts = loop.stage(f"groups {arm}", prepare)
    loop.train_reward(2, folder)
    figures: dict[str, dict[str, float]] = loop.stage(f"evaluate {arm}", evaluate)
    return {key: values | counts for key, values in figures.items()}


def scored(ranker: RewardRanker, population: Population) -> Floats:
    pairs = [
        (task.prompt, sample.completion)
        for task, group in zip(population.tasks, population.samples, strict=True)
        for sample in group
    ]
    return ranker.predict(pairs).astype(float).reshape(population.passed.shape)


def reranked(population: Population, scores: Floats) -> dict[str, float]:
    n = population.passed.shape[1]
    return {
        f"best of {n}": float(best_of_n(scores, population.passed, n).mean()),
        "hard-pair accuracy": float(
            hard_pair_accuracy(scores, population.passed, population.scores["sft_logprob"]).mean()
        ),
    }


# --- policies under other KL weights --------------------------------------------------------------------------------


def policy_under(loop: Loop, kl: float) -> dict[str, float]:
    """PPO of round 1 with this KL weight, measured like the loop's own policies."""
    if kl == loop.recipe.ppo.kl:
        varied, folder, key = loop, loop.round_dir(1), "policy-1"
    else:
        varied = loop.varied(ppo=loop.recipe.ppo.model_copy(update={"kl": kl}))
        folder, key = loop.path / "ablations" / f"kl-{kl:g}", f"kl-{kl:g}"
        varied.train_policy(1, folder, reward=loop.round_dir(1) / "reward")
    population = collect(varied, key, folder / "ppo" / "policy", "evaluation")
    with (folder / "ppo" / "metrics.jsonl").open(encoding="utf-8") as file:
        steps = [json.loads(line) for line in file]
    n = population.passed.shape[1]
    return {
        "mean pass@1": float(mean_pass(population.passed).mean()),
        "greedy": float(population.greedy.mean()),
        f"best of {n} by reward model 1": float(best_of_n(population.scores["reward-1"], population.passed, n).mean()),
        "oracle": float(population.passed.any(axis=1).mean()),
        "distinct programs": float(distinct_share(population).mean()),
        "KL at the last step": steps[-1]["objective/kl"],
        "score at the last step": steps[-1]["validation/score"],
        "validation pass rate at the last step": steps[-1]["validation/pass_rate"],
        "best validation pass rate": max(step.get("validation/pass_rate", 0.0) for step in steps),
    }


# --- a larger generator against small generator + small reranker -----------------------------------------------------


def headline(loop: Loop, populations: Sequence[Population]) -> Figures:
    """Quality and seconds a task of the larger generator and of best-of-n with the small one."""
    folder = loop.path / "ablations" / "larger"

    def train() -> dict[str, Any]:
        _, tokenizer = loop.load_generator()
        shape = loop.recipe.model.scratch.model_copy(update=LARGER)
        options = loop.recipe.sft
        options = options.model_copy(update={"learning_rate": options.learning_rate * LARGER_LEARNING_RATE})
        model = new_llama(shape, tokenizer, options.seed)
        train_sft(
            sft_examples(loop.recipe.tasks, loop.tasks("train")),
            model,
            tokenizer,
            options,
            loop.recipe.prompt,
            folder / "model",
            progress=loop.progress,
            device=loop.device,
        )
        return {"parameters": sum(p.numel() for p in model.parameters())}

    parameters = loop.stage("train the larger generator", train)["parameters"]
    larger = collect(loop, "larger", folder / "model", "evaluation")
    seconds = loop.stage("time the generators", lambda: timings(loop, folder / "model"))
    small, last, n = populations[0], populations[-1], loop.recipe.evaluation.n
    reward = f"reward-{loop.recipe.loop.rounds}"
    return {
        "larger generator": {
            "greedy": {"solved": float(larger.greedy.mean()), **seconds["larger greedy"], "parameters": parameters},
            "mean of samples": {"solved": float(larger.passed.mean())},
        },
        "small generator": {
            "greedy": {"solved": float(small.greedy.mean()), **seconds["small greedy"]},
            f"best of {n} by the reranker": {
                "solved": float(best_of_n(small.scores[reward], small.passed, n).mean()),
                **seconds[f"small best of {n}"],
            },
        },
        "policy of the last round": {
            "greedy": {"solved": float(last.greedy.mean())},
            f"best of {n} by the reranker": {
                "solved": float(best_of_n(last.scores[reward], last.passed, n).mean()),
                **seconds[f"small best of {n}"],
            },
        },
    }


def timings(loop: Loop, larger: Path) -> Mapping[str, dict[str, float]]:
    """Seconds a task, one task at a time and in bulk; generation, and for best-of-n the reranker too."""
    n = loop.recipe.evaluation.n
    ranker = loop.reranker(loop.recipe.loop.rounds)
    greedy = loop.recipe.sampling.model_copy(update={"temperature": 0.0, "n": 1})
    found = {}
    for name, model, options in (
        ("larger greedy", larger, greedy),
        ("small greedy", loop.generator, greedy),
        (f"small best of {n}", loop.generator, loop.recipe.sampling.model_copy(update={"n": n})),
    ):
        found[name] = {
            f"seconds a task, {label}": timed(loop, model, options, batch, ranker if options.n > 1 else None)
            for label, batch in (("alone", 1), ("in bulk", TIMED_TASKS))
        }
    return found


def timed(loop: Loop, model: Path, options: SamplingOptions, batch: int, ranker: RewardRanker | None) -> float:
    """Median over batches of the seconds a task; the first batch, which warms up, is drawn twice."""
    tasks = loop.tasks("evaluation")[:TIMED_TASKS]
    sampler = loop.sampler(model, options.model_copy(update={"batch_tasks": batch}))
    seconds = []
    batches = [tasks[i : i + batch] for i in range(0, len(tasks), batch)]
    for part in [batches[0], *batches]:
        start = time.perf_counter()
        groups = list(sampler.sample(part, options.n))
        if ranker is not None:
            ranker.predict(
                [(task.prompt, s.completion) for task, group in zip(part, groups, strict=True) for s in group]
            )
        seconds.append((time.perf_counter() - start) / len(part))
    return round(float(np.median(seconds[1:])), 5)
