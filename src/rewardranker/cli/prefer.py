"""`rewardranker prefer`: judged programs -> preferences, plain or mined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.cli import common, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.types import PreferenceGroup, Sample, Task, Verdict


@click.command(short_help="Make preference data: SAMPLES.jsonl + VERDICTS.jsonl -> GROUPS.jsonl")
@click.argument("samples", type=common.PathOption)
@click.argument("verdicts", type=common.PathOption)
@common.recipe_options
@click.option("--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.train.")
@click.option("--reward", help="Reward model: mine by its scores (preference.*) instead of taking all.")
@click.option("--groups", type=common.PathOption, help="With --reward: preference data that the mined is added to.")
@click.option("--round", "round_", type=click.IntRange(min=1), default=2, show_default=True, help="With --reward.")
@click.option("--pairs", type=common.PathOption, help="Also write every pair with TRL's columns here.")
@click.option("--output", type=common.PathOption, required=True, help="JSON Lines file of groups.")
def command(
    samples: Path,
    verdicts: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    name: str | None,
    reward: str | None,
    groups: Path | None,
    round_: int,
    pairs: Path | None,
    output: Path,
) -> None:
    """Group judged programs by task: every (correct, wrong) pair of a group is a preference."""
    from rewardranker.runs import read_records, write_records
    from rewardranker.tasks import load_tasks
    from rewardranker.types import Sample, Verdict

    recipe = common.load(config, overrides)
    name = name or recipe.tasks.train
    common.require_files(samples, verdicts, groups)
    if groups is not None and reward is None:
        raise click.UsageError("--groups is the data that mined programs are added to: give --reward too")
    if dry_run:
        how = f"mine by the scores of {reward}" if reward else "group"
        lines = [
            f"would {how} the programs of {samples} into {output}",
            *plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)}),
            *plan.models({"--reward": reward}),
        ]
        plan.show(recipe, lines, ("preference", "launch"))
        return
    tasks = load_tasks(name, None, recipe.tasks.seed)
    drawn, judged = list(read_records(samples, Sample)), list(read_records(verdicts, Verdict))
    with_samples = {sample.task_id for sample in drawn}
    tasks = [task for task in tasks if task.task_id in with_samples]
    if reward is None:
        from rewardranker.preference import build_groups

        found, statistics = build_groups(tasks, drawn, judged, recipe.preference)
        figures = statistics.to_record()
    else:
        found, figures = _mine(recipe, tasks, drawn, judged, reward, groups, round_)
    write_records(output, found)
    if pairs is not None:
        from rewardranker.preference import to_pairs

        write_records(pairs, to_pairs(found))
    common.show_figures(figures, output)


def _mine(
    recipe: Recipe,
    tasks: list[Task],
    samples: list[Sample],
    verdicts: list[Verdict],
    reward: str,
    groups: Path | None,
    round_: int,
) -> tuple[list[PreferenceGroup], dict[str, Any]]:
    """What the recipe's rule picks, merged with earlier preference data."""
    from rewardranker.preference import merge_groups, mine, read_groups, usable
    from rewardranker.reward import RewardRanker

    known = read_groups(groups) if groups is not None else []
    prompts = {task.task_id: task.prompt for task in tasks}
    ranker = RewardRanker.from_pretrained(reward, common.start(recipe))
    scores = ranker.predict([(prompts.get(s.task_id, ""), s.completion) for s in samples])
    mined, statistics = mine(tasks, samples, verdicts, scores.tolist(), recipe.preference, round=round_, known=known)
    return usable(merge_groups(known, mined, recipe.preference)), statistics.to_record()
