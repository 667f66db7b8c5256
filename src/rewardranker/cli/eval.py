"""`rewardranker eval`: rankings + verdicts -> figures with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardranker.cli import common, plan

if TYPE_CHECKING:
    from rewardranker.ranking import Precomputed


@click.command(short_help="Figures with intervals: SAMPLES + VERDICTS + RANKINGS -> tables")
@click.argument("samples", type=common.PathOption)
@click.argument("verdicts", type=common.PathOption)
@common.recipe_options
@click.option("--rankings", type=common.PathOption, multiple=True, help="Scores of a ranker; may be given repeatedly.")
@click.option(
    "--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.evaluation."
)
@click.option("--drop-incomplete", is_flag=True, help="Leave out tasks with missing samples instead of refusing.")
@click.option("--output", type=common.PathOption, help="Also write the figures as JSON here.")
def command(
    samples: Path,
    verdicts: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    rankings: tuple[Path, ...],
    name: str | None,
    drop_incomplete: bool,
    output: Path | None,
) -> None:
    """Measure rankers on the same samples, beside chance, log-probability, length and the oracle."""
    from rewardranker.tasks import load_tasks

    recipe = common.load(config, overrides)
    name = name or recipe.tasks.evaluation
    common.require_files(samples, verdicts, *rankings)
    if dry_run:
        does = f"would measure {len(rankings)} rankers on {samples}"
        sets = plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)})
        plan.show(recipe, [does, *sets], ("evaluation",))
        return
    tasks = load_tasks(name, None, recipe.tasks.seed)
    from rewardranker.evaluation import evaluate
    from rewardranker.preference import canonical_program
    from rewardranker.ranking import MeanLogProbability, Shortest
    from rewardranker.runs import read_records, write_json
    from rewardranker.types import Sample, Verdict

    drawn = list(read_records(samples, Sample))
    with_samples = {sample.task_id for sample in drawn}
    rankers = [Shortest(), *(_read(path) for path in rankings)]
    if any(sample.token_logprobs for sample in drawn):
        rankers.insert(1, MeanLogProbability())
    figures = evaluate(
        [task for task in tasks if task.task_id in with_samples],
        drawn,
        read_records(verdicts, Verdict),
        rankers,
        recipe.evaluation,
        key=lambda sample: canonical_program(sample.program),
        drop_incomplete=drop_incomplete,
    )
    if output is not None:
        write_json(output, figures.to_record())
    click.echo(figures.to_markdown(), nl=False)


def _read(path: Path) -> Precomputed:
    """The scores of a rankings file, under the name of its ranker."""
    from rewardranker.errors import DataError
    from rewardranker.ranking import Precomputed
    from rewardranker.runs import read_records
    from rewardranker.types import Ranking

    rows = list(read_records(path, Ranking))
    names = {row.ranker for row in rows}
    if len(names) != 1:
        raise DataError(f"{path}: rankings of several rankers ({', '.join(sorted(names))}): give each its own file")
    scores = {(r.task_id, sample): score for r in rows for sample, score in zip(r.sample_ids, r.scores, strict=True)}
    return Precomputed(names.pop(), scores)
