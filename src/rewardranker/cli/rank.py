"""`rewardranker rank`: programs -> scores, and the best of each task."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common, plan


@click.command(short_help="Score programs and pick the best: SAMPLES.jsonl -> RANKINGS.jsonl")
@click.argument("samples", type=common.PathOption)
@common.recipe_options
@click.option("--reward", required=True, help="Reward model: a folder, a run directory, or a hub name.")
@click.option(
    "--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.evaluation."
)
@click.option("--logprob-weight", type=float, default=0.0, help="Add so many times the summed log-probability.")
@click.option("--best", type=common.PathOption, help="Also write the first-ranked sample of each task here.")
@click.option("--output", type=common.PathOption, required=True, help="JSON Lines file of rankings.")
def command(
    samples: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    reward: str,
    name: str | None,
    logprob_weight: float,
    best: Path | None,
    output: Path,
) -> None:
    """Score every program of SAMPLES with a reward model."""
    from rewardranker.tasks import load_tasks

    recipe = common.load(config, overrides)
    name = name or recipe.tasks.evaluation
    common.require_files(samples)
    if dry_run:
        lines = [
            f"would rank the programs of {samples} by {reward} into {output}",
            *plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)}),
            *plan.models({"--reward": reward}),
        ]
        plan.show(recipe, lines, ("launch",))
        return
    tasks = load_tasks(name, None, recipe.tasks.seed)
    from rewardranker.ranking import Ranker, Reward, SumLogProbability, Weighted
    from rewardranker.reward import RewardRanker
    from rewardranker.runs import read_records, write_records
    from rewardranker.types import Sample

    candidates = common.group_samples(tasks, read_records(samples, Sample))
    ranker: Ranker = Reward(RewardRanker.from_pretrained(reward, common.start(recipe)))
    if logprob_weight:
        ranker = Weighted({ranker: 1.0, SumLogProbability(): logprob_weight})
    rankings = ranker.rank(candidates)
    write_records(output, rankings)
    if best is not None:
        tops = (max(range(len(r.scores)), key=r.scores.__getitem__) for r in rankings)
        write_records(best, [drawn[top] for (_, drawn), top in zip(candidates, tops, strict=True)])
    common.show_figures({"tasks": len(rankings), "programs": sum(len(r.scores) for r in rankings)}, output)
