"""`rewardranker tasks`: look at tasks, write them as JSON Lines, or compare them with evaluation tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardranker.cli import common
from rewardranker.errors import DataError

if TYPE_CHECKING:
    from rewardranker.types import Task

SHOWN = 10


@click.command(short_help="Write any loadable tasks as JSON Lines, show one, or compare sets.")
@click.argument("name", required=False)
@click.option("--output", type=common.PathOption, help="Write the tasks here, one JSON object a line.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of synthetic tasks.")
@click.option("--show", metavar="TASK_ID", help="Print one task: prompt, tests, reference.")
@click.option(
    "--against",
    metavar="NAME",
    multiple=True,
    help="Find these evaluation tasks among the tasks; `--output` then writes the others. May be given again.",
)
@click.option("--report", type=common.PathOption, help="Write what `--against` found: .json, or else as text.")
@click.option("--preferences", is_flag=True, help="NAME is a preference set: write its groups, for `reward`.")
@click.option("--list", "listed", is_flag=True, help="Names of all benchmarks and preference sets.")
def command(
    name: str | None,
    output: Path | None,
    limit: int | None,
    seed: int,
    show: str | None,
    against: tuple[str, ...],
    report: Path | None,
    preferences: bool,
    listed: bool,
) -> None:
    """NAME is `synthetic:SPLIT`; a benchmark (`humaneval`, `mbpp:test`, `multipl-e:humaneval-cpp`, ...: `--list`), with
    `:FILE` behind it to read a local file of its rows; or a JSON Lines file of tasks. With `--preferences` it is a
    public set of pairs (`rewardbench:hep`, ...), or a file of such."""
    from rewardranker.runs import write_records
    from rewardranker.tasks import load_tasks

    if listed:
        _list()
        return
    if name is None:
        raise click.UsageError("give a NAME, or --list for the names of all benchmarks")
    if report is not None and not against:
        raise click.UsageError("--report writes what --against finds: give --against NAME")
    if preferences:
        _preferences(name, limit, output)
        return
    tasks = load_tasks(name, limit, seed)
    if against:
        tasks = _clean(name, tasks, against, seed, report)
    if show is not None:
        _show(next((task for task in tasks if task.task_id == show), None), show, name)
    if output is not None:
        click.echo(f"{write_records(output, tasks)} tasks: {output}")
    elif show is None and not against:
        click.echo(f"{name}: {len(tasks)} tasks")
        for task in tasks[:SHOWN]:
            click.echo(f"  {task.task_id}")
        if len(tasks) > SHOWN:
            click.echo(f"  ... and {len(tasks) - SHOWN} more")


def _list() -> None:
    from rewardranker.preference.public_sets import SETS
    from rewardranker.tasks import BENCHMARKS
    from rewardranker.tasks.synthetic import SPLITS

    click.echo(f"{'built in':28}{', '.join(f'synthetic:{split}' for split in SPLITS)}")
    for benchmark in BENCHMARKS.values():
        click.echo(f"{benchmark.title:28}{', '.join(benchmark.names)}")
    for name, (variants, _) in SETS.items():
        names = [f"{name}:{variant}" for variant in variants] or [name]
        click.echo(f"{'with --preferences':28}{', '.join(names)}")


def _preferences(name: str, limit: int | None, output: Path | None) -> None:
    from rewardranker.preference import load_preferences
    from rewardranker.runs import write_records

    groups = load_preferences(name, limit)
    pairs = sum(group.pairs for group in groups)
    click.echo(f"{name}: {len(groups)} groups, {pairs} pairs")
    if output is not None:
        click.echo(f"{write_records(output, groups)} groups: {output}")


def _clean(name: str, tasks: list[Task], against: Sequence[str], seed: int, path: Path | None) -> list[Task]:
    """The tasks that are in none of the sets; says what was found, and writes it down."""
    from rewardranker.runs import write_json, write_text
    from rewardranker.tasks import load_tasks, overlap

    reports = {other: overlap(tasks, load_tasks(other, None, seed)) for other in against}
    for other, found in reports.items():
        click.echo(f"{name} against {other}: {found.summary()}")
    if path is not None:
        if path.suffix == ".json":
            write_json(path, {"tasks": name, "against": {other: found.to_record() for other, found in reports.items()}})
        else:
            texts = (f"{name} against {other}: {found.summary(None)}\n" for other, found in reports.items())
            write_text(path, "\n".join(texts))
        click.echo(f"report: {path}")
    kept = [task for task in tasks if not any(task.task_id in found.contaminated for found in reports.values())]
    if not kept:
        raise DataError(f"none of the {len(tasks)} tasks of {name} is left: each repeats one of {', '.join(against)}")
    return kept


def _show(task: Task | None, task_id: str, name: str) -> None:
    if task is None:
        raise DataError(f"{name} has no task '{task_id}'; `rewardranker tasks {name}` lists the first ones")
    tests = task.tests if isinstance(task.tests, str) else "\n".join(task.tests)
    parts = {
        "prompt": task.prompt,
        "reference": task.reference or "",
        "setup": task.setup,
        "tests": tests,
        "inputs": "\n".join(f"{test.input!r} -> {test.output!r}" for test in task.inputs),
        "metadata": "\n".join(f"{key}: {value}" for key, value in task.metadata.items()),
    }
    for title, text in parts.items():
        if text:
            click.echo(f"--- {title}\n{text.rstrip()}")
