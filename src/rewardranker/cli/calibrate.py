"""`rewardranker calibrate`: when an adaptive best-of-n may stop, fitted to judged samples of validation tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.cli import calibration_data as data
from rewardranker.cli import common, draws, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.serving.adaptive import AdaptiveStop
    from rewardranker.serving.adaptive_curve import Curve
    from rewardranker.serving.calibration import Pool


@click.command(short_help="Fit when the server stops drawing candidates: -> REWARD/adaptive.json")
@common.recipe_options
@click.option("--run", "run_dir", type=common.PathOption, help="Run whose recipe, reranker and last policy are taken.")
@click.option("--model", help="Generator that the server will draw from; default: the run's last policy.")
@click.option("--reward", help="Reward model's folder, run directory or hub name; default: the run's last one.")
@click.option("--tasks", "name", metavar="NAME", help="Tasks to fit on; default: the recipe's tasks.validation.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many tasks (tasks.validation_limit).")
@click.option("--samples", type=common.PathOption, help="JSON Lines of samples to fit on, instead of drawing them.")
@click.option("--verdicts", type=common.PathOption, help="Of --samples; judged where not given.")
@click.option("--rankings", type=common.PathOption, help="Scores of --samples; made by --reward where not given.")
@click.option("--measure-on", metavar="NAME", help="Other tasks for the curve; default: cross-fitting on --tasks.")
@click.option("--measure-limit", type=click.IntRange(min=1), help="The first so many of those.")
@click.option("--n", type=click.IntRange(min=2), default=32, show_default=True, help="Programs drawn a task.")
@click.option(
    "--best-of", type=click.IntRange(min=2), default=16, show_default=True, help="The most candidates of a request."
)
@click.option("--threshold", type=float, help="Price of a candidate; default: the largest that loses no quality.")
@click.option("--first-step", type=click.IntRange(min=1), default=2, show_default=True, help="Candidates at first.")
@click.option("--step", type=click.IntRange(min=1), default=2, show_default=True, help="Candidates in each later step.")
@click.option("--output", type=common.PathOption, help="Folder for samples and figures; default: RUN/calibration.")
def command(
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    run_dir: Path | None,
    model: str | None,
    reward: str | None,
    name: str | None,
    limit: int | None,
    samples: Path | None,
    verdicts: Path | None,
    rankings: Path | None,
    measure_on: str | None,
    measure_limit: int | None,
    n: int,
    best_of: int,
    threshold: float | None,
    first_step: int,
    step: int,
    output: Path | None,
) -> None:
    """Fit an adaptive best-of-n: `rewardranker serve` then stops drawing once a further candidate is not worth it.

    Draws, judges and scores programs for validation tasks, fits the rule, and prints its quality against tokens beside
    fixed numbers of candidates. The rule goes beside the reward model, where the server finds it; all else lies in the
    output folder. Stopped and given again, the command goes on where it stopped.
    """
    recipe = common.load(config or _recipe_of(run_dir), overrides)
    output = output or (run_dir / "calibration" if run_dir else None)
    if output is None:
        raise click.UsageError("give --run, or --output and what there is no run for")
    if (verdicts or rankings) and not samples:
        raise click.UsageError("--verdicts and --rankings go with --samples")
    if best_of > n and not samples:
        raise click.UsageError(f"--best-of {best_of} needs at least so many programs a task: give a larger --n")
    reward = reward or (None if rankings else str(run_dir) if run_dir else None)
    if not (reward or rankings):
        raise click.UsageError("give --run, --reward or --rankings: the rule is about scores")
    model = model or (None if samples else data.last_policy(run_dir, recipe))
    common.require_files(samples, verdicts, rankings)
    steps = _Steps(best_of, first_step, step, threshold)
    limit = limit or (None if name else recipe.tasks.validation_limit)
    sets = [data.TaskSet(name or recipe.tasks.validation, limit, fitted=True)]
    if measure_on:
        sets.append(data.TaskSet(measure_on, measure_limit, fitted=False))
    if dry_run:
        lines = [
            f"would fit on {samples or f'{n} programs a task by {model}'}, scored by {rankings or reward}, in {output}",
            *plan.task_sets(recipe.tasks.seed, {one.folder: (one.name, one.limit) for one in sets}),
            *plan.models({"--model": model, "--reward": reward}),
        ]
        plan.show(recipe, lines, ("prompt", "sampling", "judge", "evaluation", "launch"))
        return
    data.refuse_learned(sets[0].name, recipe)
    sources = data.Sources(model, reward, samples, verdicts, rankings, n)
    _calibrate(recipe, sources, sets, steps, output, run_dir)


@dataclass(frozen=True)
class _Steps:
    best_of: int
    first_step: int
    step: int
    threshold: float | None


def _calibrate(
    recipe: Recipe,
    sources: data.Sources,
    sets: Sequence[data.TaskSet],
    steps: _Steps,
    output: Path,
    run_dir: Path | None,
) -> None:
    from rewardranker.runs import RunDirectory, write_json, write_text
    from rewardranker.serving.adaptive import FILE
    from rewardranker.serving.calibration import require_tasks
    from rewardranker.tasks import load_tasks

    tasks = [load_tasks(one.name, one.limit, recipe.tasks.seed) for one in sets]
    require_tasks(len(tasks[0]))
    data.refuse_known(tasks[0], run_dir)
    data.refuse_shared(*tasks)
    fitted_on = f"{draws.fingerprint(Path(sets[0].name))}, {sets[0].limit or 'all'}"
    inputs = sources.options() | {"tasks": fitted_on}
    options = common.training_options(recipe, ("prompt", "sampling", "judge"), **inputs)
    with RunDirectory(output, "calibrate", options) as run:
        pools = [
            data.pool_of(run, recipe, sources, one, some, steps.best_of) for one, some in zip(sets, tasks, strict=True)
        ]
        rule, curve = _fit(pools, steps, recipe)
        about = {
            "tasks": len(pools[0]),
            "samples": int(pools[0].scores.shape[1]),
            "model": sources.model or str(sources.samples),
            "temperature": recipe.sampling.temperature,
            "limit": steps.best_of,
            "measured": _figures(curve, rule.threshold, len(pools) > 1),
        }
        rule = replace(rule, fitted=about)
        rule.save(run.path / FILE)
        write_json(run.path / "calibration.json", curve.to_json() | {"threshold": rule.threshold, "fitted": about})
        table = curve.to_markdown(rule.threshold)
        write_text(run.path / "calibration.md", table)
    click.echo(table)
    beside = _beside_reward(sources.reward)
    if beside:
        rule.save(beside)
    click.echo(f"rule: {beside or output / FILE} (threshold {rule.threshold:g})")
    click.echo(f"use it: rewardranker serve ... --best-of {steps.best_of} --adaptive {beside or output / FILE}")
    click.echo(f"written: {output}")


def _fit(pools: Sequence[Pool], steps: _Steps, recipe: Recipe) -> tuple[AdaptiveStop, Curve]:
    """The rule of all fitting tasks, and its curve on tasks it was not fitted on."""
    import numpy as np

    from rewardranker.serving.adaptive_curve import THRESHOLDS, measure
    from rewardranker.serving.calibration import cross_fitted, fit

    options, thresholds = recipe.evaluation, set(THRESHOLDS)
    thresholds |= {steps.threshold} if steps.threshold is not None else set()
    shape = (steps.best_of, steps.first_step, steps.step, options.seed)
    rule = fit(pools[0], *shape)

    def measured(pool: Pool, ruled: Any) -> Curve:
        return measure(pool, ruled, steps.best_of, options, sorted(thresholds, reverse=True))

    curve = measured(pools[0], cross_fitted(pools[0], *shape))
    threshold = curve.cheapest_without_loss() if steps.threshold is None else steps.threshold
    if len(pools) > 1:
        curve = measured(pools[1], [(rule, np.ones(len(pools[1]), bool))])
    return replace(rule, threshold=threshold), curve


def _figures(curve: Curve, threshold: float, apart: bool) -> dict[str, Any]:
    """The rule's own figures, for people who open its file."""
    row, fixed = curve.at_threshold(threshold), curve.at(curve.limit)
    return {
        "on": f"{curve.tasks} tasks {'apart from those fitted on' if apart else '(cross-fitted)'}",
        "quality": round(row.quality.mean, 4),
        "candidates": round(row.candidates, 2),
        "token_share": round(row.share.mean, 4),
        f"quality_of_fixed_{curve.limit}": round(fixed.quality.mean, 4),
    }


def _recipe_of(run_dir: Path | None) -> str | None:
    if run_dir is None:
        return None
    common.require_files(run_dir / "recipe.yaml")
    return str(run_dir / "recipe.yaml")


def _beside_reward(reward: str | None) -> Path | None:
    """Where the server looks for the rule; None where the reward model is not a folder of the user's."""
    from rewardranker.reward.ranker import find_reward_model
    from rewardranker.serving.adaptive import FILE

    return find_reward_model(reward) / FILE if reward and Path(reward).is_dir() else None
