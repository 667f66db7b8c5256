"""What the commands share: the recipe options, finding recipes, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rewardranker.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.types import Sample, Task

F = TypeVar("F", bound=Callable[..., Any])

PathOption = click.Path(path_type=Path)
"""Existence is checked by the stages, whose errors say what the file should hold."""


def recipe_options(function: F) -> F:
    """`--config RECIPE key=value ... --dry-run`, as the parameters `config`, `overrides` and `dry_run`."""
    function = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")(function)
    function = click.option(
        "--dry-run", is_flag=True, help="Check everything, print the resolved recipe and the plan, and stop."
    )(function)
    return click.option(
        "--config",
        metavar="RECIPE",
        help="Recipe file, or the name of a packaged one (`rewardranker config --recipes`).",
    )(function)


def output_dir_option(function: F) -> F:
    """`--output-dir DIR`, as the parameter `output_dir`."""
    return click.option(
        "--output-dir", type=PathOption, required=True, help="Folder of the run; one that exists is gone on with."
    )(function)


def packaged_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(__file__).parent.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(config: str | None, overrides: Sequence[str]) -> Recipe:
    """The recipe of a file or of a packaged name, with overrides.

    Raises:
        ConfigError: no such recipe, or keys or values are wrong.
    """
    from rewardranker.config import load_recipe

    return load_recipe(find_recipe(config) if config else None, overrides)


def find_recipe(config: str) -> Path:
    """A file of this path, else the packaged recipe of this name."""
    path, packaged = Path(config), packaged_recipes()
    if path.is_file():
        return path
    if config in packaged:
        return packaged[config]
    raise ConfigError(f"--config {config}: no such file, and not a packaged recipe ({', '.join(packaged)})")


def require_files(*paths: Path | None) -> None:
    """Refuse input files that are missing, all at once.

    Raises:
        DataError: names every missing file.
    """
    missing = [str(path) for path in paths if path is not None and not path.is_file()]
    if missing:
        raise DataError("\n".join(f"{path}: no such file" for path in missing))


def to_yaml(recipe: Recipe, only: Iterable[str] = ()) -> str:
    """The recipe as YAML: all of it, or these sections."""
    import yaml

    values = recipe.model_dump(mode="json")
    chosen = {key: values[key] for key in only} or values
    return yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True, width=100)


def finish(run_dir: Path) -> None:
    """Draw the plots of a finished loop, and print where the results are."""
    from rewardranker import processes
    from rewardranker.report import save_plots

    if not processes.is_main():
        return
    save_plots(run_dir, run_dir / "plots")
    click.echo(f"reranker: {run_dir / 'reward'}")
    click.echo(f"page:     {run_dir / 'report.html'}")
    click.echo(f"plots:    {run_dir / 'plots'} (SVG and PNG)")


def training_options(recipe: Recipe, sections: Iterable[str], **inputs: object) -> dict[str, Any]:
    """What a training's run directory is checked against: its sections of the recipe, and its inputs."""
    values = recipe.model_dump(mode="json")
    given = {name: str(value) for name, value in inputs.items() if value is not None}
    return {key: values[key] for key in (*sections, "launch")} | {"inputs": given}


def show_figures(figures: Mapping[str, Any], output: Path) -> None:
    """Print a stage's figures, a line each, and where its result is."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, float):
            value = f"{value:.4g}"
        if value is None or value == "":
            continue
        click.echo(f"{name.replace('_', ' ')}: {value}")
    click.echo(f"written: {output}")


def start(recipe: Recipe) -> str:
    """Set PyTorch's threads and choose the device, as the recipe's `launch` says; meet the launch's other processes."""
    from rewardranker import processes
    from rewardranker.models import choose_device, use_threads

    hide_loading_bars()
    use_threads(recipe.launch.threads)
    device = choose_device(recipe.launch.device)
    processes.join(device)
    return device


def group_samples(tasks: Iterable[Task], samples: Iterable[Sample]) -> list[tuple[Task, list[Sample]]]:
    """The samples of each task that has any, in task order.

    Raises:
        DataError: a sample's task is not among `tasks`, or two samples have one id.
    """
    by_task: dict[str, list[Sample]] = {}
    seen: set[tuple[str, int]] = set()
    for sample in samples:
        key = sample.task_id, sample.sample_id
        if key in seen:
            raise DataError(f"two samples of task '{key[0]}' have the id {key[1]}: give the file of one draw")
        seen.add(key)
        by_task.setdefault(sample.task_id, []).append(sample)
    groups = [(task, by_task.pop(task.task_id)) for task in tasks if task.task_id in by_task]
    if by_task:
        raise DataError(f"samples of unknown tasks ({', '.join(list(by_task)[:3])}): are these the right --tasks?")
    return groups


def hide_loading_bars() -> None:
    """Silence transformers' bar for each loaded file; downloads keep theirs."""
    from transformers.utils import logging

    logging.disable_progress_bar()
