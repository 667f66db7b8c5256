"""`rewardranker prefer`: judged programs -> preferences, plain or mined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rewardranker.cli import common, plan, ranker_sources

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
@click.option(
    "--outcomes",
    is_flag=True,
    help="Run the candidates, and show behind each what it returned: training data for the rankers lever and "
    "outcome-reward. The options below say on which inputs.",
)
@ranker_sources.evidence_options
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
    outcomes: bool,
    generated_tests: Path | None,
    tests_model: str | None,
    tests_texts: int,
    inputs: Literal["generated", "tests"],
    calls: int,
    output: Path,
) -> None:
    """Group judged programs by task: every (correct, wrong) pair of a group is a preference."""
    from rewardranker.evaluation import read_all
    from rewardranker.runs import write_records
    from rewardranker.tasks import load_tasks
    from rewardranker.types import Sample, Verdict

    recipe = common.load(config, overrides)
    name = name or recipe.tasks.train
    common.require_files(samples, verdicts, groups)
    if groups is not None and reward is None:
        raise click.UsageError("--groups is the data that mined programs are added to: give --reward too")
    evidence = ranker_sources.Evidence(generated_tests, tests_model, tests_texts, inputs, calls)
    if evidence != ranker_sources.Evidence() and not outcomes:
        raise click.UsageError(
            "--generated-tests, --tests-model, --tests-texts, --inputs and --calls go with --outcomes"
        )
    common.require_files(generated_tests)
    if dry_run:
        how = f"mine by the scores of {reward}" if reward else "group"
        lines = [
            f"would {how} the programs of {samples} into {output}",
            *plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)}),
            *plan.models({"--reward": reward, "--tests-model": tests_model}),
        ]
        plan.show(recipe, lines, ("preference", *("judge",) * outcomes, "launch"))
        return
    tasks = load_tasks(name, None, recipe.tasks.seed)
    drawn, judged = read_all(samples, Sample), read_all(verdicts, Verdict)
    with_samples = {sample.task_id for sample in drawn}
    every, tasks = tasks, [task for task in tasks if task.task_id in with_samples]
    if reward is None:
        from rewardranker.preference import build_groups

        found, statistics = build_groups(tasks, drawn, judged, recipe.preference)
        figures = statistics.to_record()
    else:
        found, figures = _mine(recipe, tasks, drawn, judged, reward, groups, round_)
    if outcomes:
        found = _with_outcomes(recipe, every, drawn, found, output.with_suffix(""), evidence)
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


def _with_outcomes(
    recipe: Recipe,
    tasks: list[Task],
    samples: list[Sample],
    groups: list[PreferenceGroup],
    prefix: Path,
    evidence: ranker_sources.Evidence,
) -> list[PreferenceGroup]:
    """The groups with what each candidate returned behind it (LEVER, arXiv 2302.08468)."""
    from rewardranker.executing import candidate_samples
    from rewardranker.ranking import groups_with_outcomes

    programs = candidate_samples(tasks, groups, samples)
    grouped = {group.task_id for group in groups}
    chosen = [task for task in tasks if task.task_id in grouped]
    maker = ranker_sources.RankerMaker(recipe, chosen, programs, prefix, evidence)
    shown, _ = groups_with_outcomes(groups, programs, maker.outputs())
    return shown
