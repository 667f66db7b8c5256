"""What `--dry-run` checks and prints: task sets are loaded, models are looked for; nothing is downloaded or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardranker.cli import common
from rewardranker.errors import MissingExtraError

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.types import Task


def show(recipe: Recipe, plan: Iterable[str], sections: Iterable[str] = ()) -> None:
    """Print the resolved options as YAML, then the plan as YAML comments; nothing where a check of the plan fails."""
    lines = list(plan)
    click.echo(common.to_yaml(recipe, sections), nl=False)
    for line in lines:
        click.echo(f"# {line}")


def loop(recipe: Recipe, output_dir: Path) -> Iterator[str]:
    """What the whole loop would do, in words.

    Raises:
        RewardRankerError: a task set can't be loaded, the training tasks have no reference solutions, or a model or an
            extra is missing.
    """
    tasks, sampling = recipe.tasks, recipe.sampling
    yield f"would run in {output_dir}" + (" (goes on with the run there)" if output_dir.exists() else "")
    yield f"generator: {recipe.model.generator}, fine-tuned on {sft_examples(recipe)}"
    for number in range(1, recipe.loop.rounds + 1):
        source = "the SFT generator" if number == 1 else f"the policy of round {number - 1}"
        yield (
            f"round {number}: sample {sampling.n} programs a task from {source}, run the tests, train the reranker, "
            f"train a policy by PPO ({recipe.ppo.steps} steps)"
        )
    yield f"measure on {tasks.evaluation}: {recipe.evaluation.n} samples a task"
    yield from task_sets(
        tasks.seed,
        {
            "tasks.train": (tasks.train, tasks.train_limit),
            "tasks.validation": (tasks.validation, tasks.validation_limit),
            "tasks.evaluation": (tasks.evaluation, tasks.evaluation_limit),
        },
    )
    check_adapters(recipe)
    reward = recipe.model.reward if recipe.model.reward_init == "base" else None
    yield from models({"model.generator": recipe.model.generator, "model.reward": reward})


def sft_examples(recipe: Recipe) -> str:
    """What the generator would be fine-tuned on, in words.

    Raises:
        RewardRankerError: the training tasks can't be loaded or have no reference solutions.
    """
    from rewardranker import tasks

    options = recipe.tasks
    if options.train.startswith("synthetic:"):
        _load(options.train, 1, options.seed)  # the corpus takes long to make; an unknown split is told all the same
        return f"{options.corpus_size:,} examples of the corpus of {options.train}"
    loaded = _load(options.train, options.train_limit, options.seed)
    if loaded is None:
        return f"the reference solutions of {options.train}"
    return f"{len(tasks.sft_examples(options, loaded)):,} reference solutions of {options.train}"


def task_sets(seed: int, sets: Mapping[str, tuple[str, int | None]]) -> Iterator[str]:
    """How many tasks each set has.

    Args:
        sets: name and limit of each set, by the option that names it.

    Raises:
        ConfigError, DataError, MissingExtraError: see `tasks.load_tasks`.
    """
    for option, (name, limit) in sets.items():
        loaded = _load(name, limit, seed)
        if loaded is None:
            yield f"{option}: {name} would be downloaded from the hub, so it is not looked at"
        else:
            yield f"{option}: {len(loaded):,} tasks of {name}"


def models(names: Mapping[str, str | None]) -> Iterator[str]:
    """Where each model would come from.

    Args:
        names: models by the option that names them; None is left out.

    Raises:
        ModelError: no such folder, and not a name of the hub.
        MissingExtraError: the package of a model is not installed.
    """
    from rewardranker.models import SMOLLM2, check_name

    for option, name in names.items():
        if name is None or name == "scratch":
            continue
        check_name(name)
        if name != SMOLLM2 and not Path(name).exists():
            yield f"{option}: there is no folder {name}, so it would come from the hub"


def check_adapters(recipe: Recipe) -> None:
    """
    Raises:
        MissingExtraError: the recipe trains LoRA adapters and peft is not installed.
    """
    if recipe.model.lora_rank and find_spec("peft") is None:
        raise MissingExtraError("peft", "lora")


def _load(name: str, limit: int | None, seed: int) -> list[Task] | None:
    """The tasks; None where they would be downloaded."""
    from rewardranker.tasks import load_tasks, needs_hub

    return None if needs_hub(name) else load_tasks(name, limit, seed)
