"""`rewardranker tasks`: look at tasks, or write them as JSON Lines."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common
from rewardranker.errors import DataError

SHOWN = 10


@click.command(short_help="Write any loadable tasks as JSON Lines, or show one.")
@click.argument("name")
@click.option("--output", type=common.PathOption, help="Write the tasks here, one JSON object a line.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of synthetic tasks.")
@click.option("--show", metavar="TASK_ID", help="Print one task: prompt, tests, reference.")
def command(name: str, output: Path | None, limit: int | None, seed: int, show: str | None) -> None:
    """NAME is `synthetic:SPLIT`, `humaneval`, `mbpp:SPLIT`, `mbpp:SPLIT:FILE`, or a JSON Lines file of tasks."""
    from rewardranker.runs import write_records
    from rewardranker.tasks import load_tasks

    tasks = load_tasks(name, limit, seed)
    if show is not None:
        _show(next((task for task in tasks if task.task_id == show), None), show, name)
    if output is not None:
        click.echo(f"{write_records(output, tasks)} tasks: {output}")
    elif show is None:
        click.echo(f"{name}: {len(tasks)} tasks")
        for task in tasks[:SHOWN]:
            click.echo(f"  {task.task_id}")
        if len(tasks) > SHOWN:
            click.echo(f"  ... and {len(tasks) - SHOWN} more")


def _show(task: object, task_id: str, name: str) -> None:
    from rewardranker.types import Task

    if not isinstance(task, Task):
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
