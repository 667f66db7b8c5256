"""`rewardranker judge`: programs -> verdicts."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common, plan


@click.command(short_help="Run the tests of programs: SAMPLES.jsonl -> VERDICTS.jsonl")
@click.argument("samples", type=common.PathOption)
@common.recipe_options
@click.option("--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.train.")
@click.option("--workers", type=click.IntRange(min=1), help="Judge processes (launch.judge_workers).")
@click.option("--timeout", type=float, help="CPU seconds a program may use (judge.timeout).")
@click.option(
    "--output", type=common.PathOption, required=True, help="JSON Lines file; one that exists is gone on with."
)
def command(
    samples: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    name: str | None,
    workers: int | None,
    timeout: float | None,
    output: Path,
) -> None:
    """Run every program of SAMPLES against its task's tests, in isolation."""
    from rewardranker.tasks import load_tasks

    options = [f"launch.judge_workers={workers}"] * (workers is not None) + [f"judge.timeout={timeout}"] * (
        timeout is not None
    )
    recipe = common.load(config, (*overrides, *options))
    name = name or recipe.tasks.train
    common.require_files(samples)
    if dry_run:
        does = f"would judge the programs of {samples} into {output}"
        sets = plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)})
        plan.show(recipe, [does, *sets], ("judge", "launch"))
        return
    tasks = load_tasks(name, None, recipe.tasks.seed)
    from rewardranker.execution import PythonJudge, judge_to_file
    from rewardranker.progress import Progress

    with PythonJudge(recipe.judge, recipe.launch.judge_workers) as judge:
        figures = judge_to_file(tasks, samples, output, judge, progress=Progress())
    common.show_figures(figures, output)
