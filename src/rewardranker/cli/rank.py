"""`rewardranker rank`: programs -> scores, and the best of each task."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rewardranker.cli import common, plan, ranker_sources

if TYPE_CHECKING:
    from rewardranker.types import Ranking, Sample, Task


@click.command(
    short_help="Score programs and pick the best: SAMPLES.jsonl -> RANKINGS.jsonl",
)
@click.argument("samples", type=common.PathOption)
@common.recipe_options
@click.option("--ranker", "spec", metavar="RANKER", help="Such as codet, prune+reward:DIR, reward:DIR+0.5*logprob.")
@click.option(
    "--list",
    "show_list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, option, wanted: _list(context, wanted),
    help="Name all rankers and end.",
)
@click.option("--reward", help="Reward model: a folder, a run directory, or a hub name; short for --ranker reward:...")
@click.option(
    "--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.evaluation."
)
@click.option("--logprob-weight", type=float, default=0.0, help="Add so many times the summed log-probability.")
@click.option("--verdicts", type=common.PathOption, help="Of the samples; the oracle needs them.")
@ranker_sources.evidence_options
@click.option(
    "--best", type=common.PathOption, help="Also write a first-ranked sample of each task here, ties drawn by lot."
)
@click.option("--output", type=common.PathOption, required=True, help="JSON Lines file of rankings.")
def command(
    samples: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    spec: str | None,
    reward: str | None,
    name: str | None,
    logprob_weight: float,
    verdicts: Path | None,
    generated_tests: Path | None,
    tests_model: str | None,
    tests_texts: int,
    inputs: Literal["generated", "tests"],
    calls: int,
    best: Path | None,
    output: Path,
) -> None:
    """Score every program of SAMPLES with a ranker.

    A ranker is NAME or NAME:MODEL; several are added with +, each with a weight such as 0.5* in front, after their
    scores were standardised within each task; prune+ in front asks the rest only about programs that parse and pass the
    first test that their task shows.
    """
    from rewardranker.tasks import load_tasks

    recipe = common.load(config, overrides)
    name = name or recipe.tasks.evaluation
    if (spec is None) == (reward is None):
        raise click.UsageError("give either --ranker or --reward; `rewardranker rank --list` names all rankers")
    common.require_files(samples, verdicts)
    evidence = ranker_sources.Evidence(generated_tests, tests_model, tests_texts, inputs, calls)
    models = list(ranker_sources.check(spec, evidence) if spec else plan.models({"--reward": reward}))
    if dry_run:
        lines = [
            f"would rank the programs of {samples} by {spec or reward} into {output}",
            *plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)}),
            *models,
        ]
        plan.show(recipe, lines, ("launch",))
        return
    tasks = load_tasks(name, None, recipe.tasks.seed)
    from rewardranker.evaluation import read_all, write_rankings
    from rewardranker.ranking import SumLogProbability, Weighted
    from rewardranker.runs import write_records
    from rewardranker.types import Sample, Verdict

    candidates = common.group_samples(tasks, read_all(samples, Sample))
    drawn = [sample for _, group in candidates for sample in group]
    judged = None if verdicts is None else read_all(verdicts, Verdict)
    if spec:
        with_samples, prefix = [task for task, _ in candidates], output.with_suffix("")
        ranker = ranker_sources.RankerMaker(recipe, with_samples, drawn, prefix, evidence, judged).make(spec)
    else:
        assert reward is not None
        ranker = ranker_sources.reward(reward, recipe)
    if logprob_weight:
        ranker = Weighted({ranker: 1.0, SumLogProbability(): logprob_weight})
    rankings = ranker.rank(candidates)
    write_rankings(output, rankings)
    if best is not None:
        write_records(best, _tops(candidates, rankings, recipe.evaluation.seed))
    figures = {"tasks": len(rankings), "programs": sum(len(r.scores) for r in rankings)}
    cost = {
        "seconds scoring": round(ranker.cost.seconds, 2),
        "programs executed": ranker.cost.programs,
        "seconds executing": round(ranker.cost.execution_seconds, 2),
    }
    common.show_figures(figures | {"cost": cost}, output)


def _tops(
    candidates: Sequence[tuple[Task, Sequence[Sample]]], rankings: Sequence[Ranking], seed: int
) -> Iterator[Sample]:
    """One first-ranked sample of each task; which of several with the top score is drawn by lot."""
    for (task, drawn), ranking in zip(candidates, rankings, strict=True):
        top = max(ranking.scores)
        tied = [sample for sample, score in zip(drawn, ranking.scores, strict=True) if score == top]
        yield random.Random(f"{seed} {task.task_id}").choice(tied)


def _list(context: click.Context, wanted: bool) -> None:
    """Print all rankers and end."""
    if wanted:
        from rewardranker.ranking import ranker_names

        for name, about in ranker_names().items():
            click.echo(f"{name:22} {about}")
        context.exit()
