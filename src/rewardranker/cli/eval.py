"""`rewardranker eval`: every ranker on the same samples, as figures with intervals in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rewardranker.cli import common, draws, plan, ranked, ranker_sources
from rewardranker.errors import DataError

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.evaluation import Evaluation, Ranked
    from rewardranker.runs import RunDirectory
    from rewardranker.types import Sample, Task


@click.command(short_help="Measure rankers on samples: -> DIR/evaluation.json and tables")
@common.recipe_options
@click.option(
    "--tasks",
    "names",
    metavar="NAME,...",
    multiple=True,
    help="See `rewardranker tasks`; several sets, such as languages, are measured together (tasks.evaluation).",
)
@click.option("--limit", type=click.IntRange(min=1), help="The first so many tasks of each set.")
@click.option(
    "--samples", type=common.PathOption, multiple=True, help="JSON Lines of samples; may be given repeatedly."
)
@click.option("--model", help="Sample from this model first, `sampling.n` programs a task and a greedy one.")
@click.option("--verdicts", type=common.PathOption, multiple=True, help="Of the samples; judged where not given.")
@click.option("--greedy", type=common.PathOption, help="One greedy sample of each task, by the same model.")
@click.option("--greedy-verdicts", type=common.PathOption, help="Of --greedy; judged where not given.")
@click.option(
    "--rankers",
    "specs",
    metavar="[NAME=]RANKER,...",
    multiple=True,
    help="reward:MODEL, codet, prune+reward:MODEL, reward:MODEL+0.5*logprob, ... (a wrong name shows all); default: "
    "shortest, and mean-logprob where samples have log-probabilities.",
)
@ranker_sources.evidence_options
@click.option("--rankings", type=common.PathOption, multiple=True, help="Scores made elsewhere (`rewardranker rank`).")
@click.option("--baseline", "baselines", multiple=True, help="Compare all rankers with this one; may be repeated.")
@click.option(
    "--n", type=click.IntRange(min=1), help="Best of how many (evaluation.n); default: all samples of a task."
)
@click.option("--by", multiple=True, help="Also figures by this field of the tasks' metadata.")
@click.option("--against", type=common.PathOption, multiple=True, help="Folder of another evaluation of these tasks.")
@click.option("--drop-incomplete", is_flag=True, help="Leave out tasks with too few samples instead of refusing.")
@click.option("--output", type=common.PathOption, required=True, help="Folder; the same command again goes on there.")
def command(
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    names: tuple[str, ...],
    limit: int | None,
    samples: tuple[Path, ...],
    model: str | None,
    verdicts: tuple[Path, ...],
    greedy: Path | None,
    greedy_verdicts: Path | None,
    specs: tuple[str, ...],
    generated_tests: Path | None,
    tests_model: str | None,
    tests_texts: int,
    inputs: Literal["generated", "tests"],
    calls: int,
    rankings: tuple[Path, ...],
    baselines: tuple[str, ...],
    n: int | None,
    by: tuple[str, ...],
    against: tuple[Path, ...],
    drop_incomplete: bool,
    output: Path,
) -> None:
    """Measure rankers on the same samples, beside a random sample, greedy decoding and the oracle.

    The figures go to DIR/evaluation.json and, as tables, to DIR/evaluation.md; samples, verdicts and scores lie beside
    them. All of it is over tasks, with 95 % intervals.
    """
    recipe = common.load(config, overrides)
    names = _split(names) or (recipe.tasks.evaluation,)
    if bool(samples) == bool(model):
        raise click.UsageError("give either --samples, or --model to sample first")
    if (verdicts and not samples) or (greedy_verdicts and not greedy) or (greedy and model):
        raise click.UsageError(
            "--verdicts goes with --samples, --greedy-verdicts with --greedy, --greedy without --model"
        )
    common.require_files(*samples, *verdicts, greedy, greedy_verdicts, *rankings)
    wanted = ranked.parse(_split(specs))
    evidence = ranker_sources.Evidence(generated_tests, tests_model, tests_texts, inputs, calls)
    models = [*plan.models({"--model": model})]
    models += [line for one in wanted for line in ranker_sources.check(one.spec, evidence)]
    judges = not (verdicts and (greedy is None or greedy_verdicts))
    if dry_run:
        does = f"would measure {', '.join(specs) or 'the baselines'} on {model or ', '.join(map(str, samples))}"
        sets = [line for name in names for line in plan.task_sets(recipe.tasks.seed, {"--tasks": (name, limit)})]
        sections = (*("prompt", "sampling") * bool(model), *("judge",) * judges, "evaluation")
        plan.show(recipe, [f"{does} into {output}", *sets, *models], sections)
        return
    from rewardranker.evaluation import arrange, collect, score_vector, write_evaluation
    from rewardranker.runs import RunDirectory, write_records
    from rewardranker.tasks import load_tasks

    tasks = [task for name in names for task in load_tasks(name, limit, recipe.tasks.seed)]
    given, decoded = draws.read(samples, verdicts), draws.read([greedy], [greedy_verdicts])
    scored = [(path, one) for path in rankings for one in _read(path)]
    if given:  # what does not fit is told before anything is written or judged
        with _naming(*samples):
            arrange(tasks, given[0], n or 1, drop_incomplete=drop_incomplete)
        if given[1]:
            with _naming(*samples, *verdicts):
                outcomes = collect(tasks, *given, drop_incomplete=drop_incomplete)
            for path, one in scored:
                with _naming(path):
                    score_vector(outcomes, one.rankings)
    files = {"samples": samples, "verdicts": verdicts, "greedy": [greedy], "greedy verdicts": [greedy_verdicts]}
    origin = {"tasks": draws.fingerprints(map(Path, names)), "limit": limit, "model": model}
    origin |= {name: draws.fingerprints(path for path in paths if path) for name, paths in files.items()}
    options = common.training_options(recipe, ("prompt", "sampling") * bool(model) + ("judge",) * judges, **origin)
    with RunDirectory(output, "eval", options) as run:
        run.stage("tasks", lambda: {"tasks": write_records(run.path / "tasks.jsonl", tasks)})
        if model:
            draws.sample(run, recipe, tasks, model)
        draws.copy(run, ".", given)
        draws.copy(run, "greedy", decoded)
        drawn = draws.judged(run, recipe, tasks, ".", given)
        decoded = draws.judged(run, recipe, tasks, "greedy", decoded)
        assert drawn is not None, "there are samples, or a model draws them"
        choice = _Choice(wanted, evidence, [one for _, one in scored], baselines, n, by, against, drop_incomplete)
        found = _measure(run, recipe, tasks, drawn, decoded, choice)
        write_evaluation(found, output)
    click.echo(found.to_markdown(), nl=False)
    click.echo(f"\nwritten: {output}")


@dataclass(frozen=True)
class _Choice:
    """What is measured, and how."""

    rankers: Sequence[ranked.Wanted]
    evidence: ranker_sources.Evidence
    scored: Sequence[Ranked]
    """Elsewhere."""
    baselines: Sequence[str]
    n: int | None
    by: Sequence[str]
    against: Sequence[Path]
    drop_incomplete: bool


def _measure(
    run: RunDirectory,
    recipe: Recipe,
    tasks: Sequence[Task],
    drawn: draws.Records,
    greedy: draws.Records | None,
    choice: _Choice,
) -> Evaluation:
    """Run the rankers and compute all figures."""
    from rewardranker.evaluation import (
        GREEDY,
        MEAN,
        against,
        collect,
        evaluate,
        of_samples,
        read_evaluation,
        write_rankings,
    )
    from rewardranker.evaluation.groups import BY

    samples, verdicts = drawn
    others = [read_evaluation(path) for path in choice.against]  # a wrong path is told before rankers run
    drop_incomplete = choice.drop_incomplete
    n = choice.n or _explicit_n(recipe) or _fewest(tasks, samples, drop_incomplete)
    options = recipe.evaluation.model_copy(update={"n": n})
    collect(tasks, samples, verdicts, n, drop_incomplete=drop_incomplete)
    wanted = choice.rankers or ranked.parse(
        ["shortest", *["mean-logprob"] * any(sample.token_logprobs for sample in samples)]
    )
    found_rankings = ranked.run_all(run, recipe, tasks, drawn, wanted, choice.evidence)
    found_rankings += choice.scored
    names = [one.name for one in found_rankings]
    likely = [name for name in ("mean-logprob", "logprob") if name in names]
    found = evaluate(
        tasks,
        samples,
        verdicts,
        found_rankings,
        options,
        baselines=choice.baselines or (MEAN, *[GREEDY] * bool(greedy), *likely),
        greedy=greedy,
        by=(*BY, *choice.by),
        key=lambda sample: sample.program.strip(),  # normalising 200,000 programs would take most of a minute
        drop_incomplete=drop_incomplete,
    )
    # For the page, which shows each program with its scores: those of other samples have no place there.
    scores = (ranking for one in found_rankings for ranking in of_samples(one.rankings, samples))
    write_rankings(run.path / "rankings.jsonl", scores)
    compared = tuple(
        against(found, other, options, str(path)) for path, other in zip(choice.against, others, strict=True)
    )
    return replace(found, against=compared, inputs=run.manifest["options"]["inputs"])


@contextmanager
def _naming(*files: Path) -> Iterator[None]:
    """What does not fit is in these files."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{', '.join(map(str, files))}: {error}") from None


def _read(path: Path) -> list[Ranked]:
    """The rankers of a file of scores."""
    from rewardranker.evaluation import Ranked, read_rankings

    return [Ranked(name, rankings) for name, rankings in read_rankings(path).items()]


def _explicit_n(recipe: Recipe) -> int | None:
    """`evaluation.n` where the recipe or the command line gives it."""
    given = "evaluation" in recipe.model_fields_set and "n" in recipe.evaluation.model_fields_set
    return recipe.evaluation.n if given else None


def _fewest(tasks: Sequence[Task], samples: Sequence[Sample], drop_incomplete: bool) -> int:
    """The fewest samples of any task; of those that have any, where the others are left out."""
    counts = Counter(sample.task_id for sample in samples)
    found = [counts[task.task_id] for task in tasks if counts[task.task_id] or not drop_incomplete]
    return max(1, min(found, default=1))


def _split(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in given for part in text.split(",") if part.strip())
