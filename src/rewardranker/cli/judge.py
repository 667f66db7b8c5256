"""`rewardranker judge`: programs -> verdicts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardranker.cli import common, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe


@click.command(short_help="Run the tests of programs: PROGRAMS.jsonl -> VERDICTS.jsonl")
@click.argument("programs", type=common.PathOption)
@common.recipe_options
@click.option(
    "--output", type=common.PathOption, required=True, help="JSON Lines file; one that exists is gone on with."
)
@click.option(
    "--tasks",
    "name",
    metavar="NAME",
    help="PROGRAMS are samples of these tasks, see `rewardranker tasks` (the recipe's tasks.train).",
)
@click.option("--workers", type=click.IntRange(min=1), help="Judge processes (launch.judge_workers).")
@click.option("--timeout", type=float, help="CPU seconds a program may use (judge.timeout).")
@click.option(
    "--isolation",
    type=click.Choice(["auto", "namespaces", "landlock", "rlimits"]),
    help="How programs are kept apart from the machine (judge.isolation).",
)
@click.option(
    "--allow-unsafe", is_flag=True, help="Run programs even where nothing hides the machine (judge.allow_unsafe)."
)
@click.option(
    "--no-canary", is_flag=True, help="Believe passing programs of other languages than Python (judge.canary=false)."
)
@click.option("--cache", metavar="FILE", help="SQLite file of verdicts, shared by runs (judge.cache).")
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="`ray` judges on all nodes of a Ray cluster, with --workers on each; RAY_ADDRESS says which cluster.",
)
def command(
    programs: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    output: Path,
    name: str | None,
    workers: int | None,
    timeout: float | None,
    isolation: str | None,
    allow_unsafe: bool,
    no_canary: bool,
    cache: str | None,
    executor: str,
) -> None:
    """Run every program of PROGRAMS against its tests, in isolation.

    PROGRAMS holds a JSON object a line, in one of two forms. The first row decides which: one that has `tests` or
    `inputs` carries its own tests; any other is a sample, and so are all rows when --tasks is given.

    \b
    1. Rows with their own tests, as in MultiPL-E:
         task_id (or name), language, prompt, completion, tests
       The program is prompt + completion, cut at the first of `stop_tokens`,
       or a whole `program`. `entry_point` names the function of Python tests
       that are given one. `inputs`, [{"input", "output"}], in place of `tests`
       is for programs that read standard input.
    2. Samples (`rewardranker sample` writes them): task_id, sample_id, program;
       the tests come from --tasks.

    One row in, one row out, in order: task_id and the input's other id fields, passed, status, detail, tests_passed,
    tests_total, seconds, cpu_seconds, peak_memory_mb, cached, isolation, toolchain. The same command again goes on
    where it stopped.
    """
    given = {
        "launch.judge_workers": workers,
        "judge.timeout": timeout,
        "judge.isolation": isolation,
        "judge.allow_unsafe": "true" if allow_unsafe else None,
        "judge.canary": "false" if no_canary else None,
    }
    options = [f"{key}={value}" for key, value in given.items() if value is not None]
    recipe = common.load(config, (*overrides, *options))
    if cache is not None:  # a file name is not read as YAML
        recipe = recipe.model_copy(update={"judge": recipe.judge.model_copy(update={"cache": cache})})
    common.require_files(programs)
    self_contained = name is None and _carries_tests(programs)
    name = name or recipe.tasks.train
    if dry_run:
        _show_plan(programs, output, recipe, None if self_contained else name)
        return
    from rewardranker.execution.opening import open_judge
    from rewardranker.execution.records import judge_rows_to_file, judge_to_file
    from rewardranker.progress import Progress
    from rewardranker.tasks import load_tasks

    tasks = [] if self_contained else load_tasks(name, None, recipe.tasks.seed)
    with open_judge(recipe.judge, recipe.launch.judge_workers, executor) as judge:
        if self_contained:
            figures = judge_rows_to_file(programs, output, judge, progress=Progress(), local=executor == "local")
        else:
            figures = judge_to_file(tasks, programs, output, judge, progress=Progress())
    common.show_figures(figures, output)


def _carries_tests(programs: Path) -> bool:
    from rewardranker.errors import DataError
    from rewardranker.execution.rows import is_self_contained, read_objects

    first = next(read_objects(programs))[1]
    if not is_self_contained(first) and "sample_id" not in first:
        raise DataError(
            f"{programs}:1: a row needs its own 'tests' (or 'inputs'); or, as a sample, 'sample_id' and 'program', and "
            f"--tasks (columns here: {', '.join(first)})"
        )
    return is_self_contained(first)


def _show_plan(programs: Path, output: Path, recipe: Recipe, name: str | None) -> None:
    lines = [f"would judge the programs of {programs} into {output}"]
    if name is not None:
        lines += plan.task_sets(recipe.tasks.seed, {"--tasks": (name, None)})
    else:
        from rewardranker.execution.rows import read_rows

        languages = Counter(row.task.language for row in read_rows(programs))
        lines += [f"{language}: {count:,} programs with their own tests" for language, count in languages.most_common()]
    plan.show(recipe, lines, ("judge", "launch"))
