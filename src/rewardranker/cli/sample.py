"""`rewardranker sample`: tasks -> programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.cli import common, plan
from rewardranker.errors import ConfigError

if TYPE_CHECKING:
    from rewardranker.config import PromptOptions, Recipe
    from rewardranker.generation import OpenAISampler
    from rewardranker.types import Sampler

KEY_VARIABLE = "OPENAI_API_KEY"


@click.command(short_help="Draw programs for tasks: -> SAMPLES.jsonl")
@common.recipe_options
@click.option(
    "--model",
    help="Folder, hub name, or `smollm2-135m`; default: the recipe's model.generator. With --upstream: a name that the "
    "server knows; default: its only one.",
)
@click.option("--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.train.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many tasks.")
@click.option("--round", "round_", type=click.IntRange(min=0), default=0, help="Written into every sample.")
@click.option(
    "--output", type=common.PathOption, required=True, help="JSON Lines file; one that exists is gone on with."
)
@click.option(
    "--engine",
    type=click.Choice(["transformers", "vllm"]),
    default="transformers",
    show_default=True,
    help="What runs the model in this process.",
)
@click.option(
    "--engine-option", "engine_options", multiple=True, metavar="KEY=VALUE", help="An argument of vLLM's own."
)
@click.option(
    "--upstream",
    metavar="URL",
    help=f"An OpenAI-compatible server, such as http://localhost:8000/v1; its key is read from ${KEY_VARIABLE}.",
)
@click.option(
    "--api", type=click.Choice(["completions", "chat"]), help="Of the server; default: as the recipe's prompt.style."
)
@click.option(
    "--logprobs",
    type=click.Choice(["auto", "required", "off"]),
    default="auto",
    show_default=True,
    help="Of the server: asked for; asked for and an error where there are none; not asked for.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="`ray`: on all nodes of the cluster that RAY_ADDRESS names; each loads the model.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="With --executor ray: samplers on each node; default: one for each GPU, one on a node without.",
)
@click.option("--concurrency", type=click.IntRange(min=1), default=32, show_default=True, help="Requests at a time.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, help="Seconds."
)
@click.option("--retries", type=click.IntRange(min=0), default=5, show_default=True, help="Of a request that failed.")
@click.option("--request-field", "fields", multiple=True, metavar="KEY=VALUE", help="Sent with every request.")
def command(
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    model: str | None,
    name: str | None,
    limit: int | None,
    round_: int,
    output: Path,
    engine: str,
    engine_options: tuple[str, ...],
    executor: str,
    workers: int | None,
    upstream: str | None,
    api: str | None,
    fields: tuple[str, ...],
    **server_options: Any,
) -> None:
    """Draw `sampling.n` programs for each task, from a model in this process or from a model server (--upstream).

    Stopped and given again, the command goes on where it stopped.
    """
    from rewardranker.tasks import load_tasks

    recipe = common.load(config, overrides)
    name = name or recipe.tasks.train
    if upstream is None and (api or fields):
        raise click.UsageError("--api and --request-field are for a server: give --upstream")
    if engine != "vllm" and engine_options:
        raise click.UsageError("--engine-option is for --engine vllm")
    if executor == "ray" and upstream is not None:
        raise click.UsageError("--executor ray loads models on the cluster's nodes: not with --upstream")
    if workers is not None and executor != "ray":
        raise click.UsageError("--workers is for --executor ray; `rewardranker launch` starts several processes here")
    if upstream is None:
        model = model or recipe.model.generator
        if model == "scratch":
            raise click.UsageError(
                "the recipe's generator is trained from nothing: give --model, a folder made by `sft`"
            )
    served = _served(recipe, upstream, model, api, _values("--request-field", fields), server_options)
    given = _values("--engine-option", engine_options)
    if dry_run:
        source = str(model)
        if served is not None:
            served.check()
            source = f"{served.name} at {served.base_url}"
        lines = [
            f"would draw {recipe.sampling.n} programs for each task from {source} into {output}",
            *plan.task_sets(recipe.tasks.seed, {"--tasks": (name, limit)}),
            *plan.models({"--model": None if served else model}),
        ]
        plan.show(recipe, lines, ("prompt", "sampling", "launch"))
        return
    tasks = load_tasks(name, limit, recipe.tasks.seed)
    from rewardranker import processes
    from rewardranker.generation import sample_together
    from rewardranker.generation.opening import open_sampler
    from rewardranker.generation.ray_sampler import RaySampler
    from rewardranker.selftraining import own_progress

    if processes.world_size() > 1:
        if executor == "ray":
            raise click.UsageError("--executor ray spreads the work by itself: not under `rewardranker launch`")
        common.start(recipe)
    with contextlib.ExitStack() as stack:
        sampler: Sampler
        if served is not None:
            sampler = served
        elif executor == "ray":
            sampler = stack.enter_context(RaySampler(recipe, str(model), engine, given, workers))
        else:
            if engine == "transformers":
                common.start(recipe)
            sampler = open_sampler(recipe, str(model), engine, given)
        figures = sample_together(sampler, tasks, recipe.sampling.n, output, round=round_, progress=own_progress())
    common.show_figures(figures, output)


def _served(
    recipe: Recipe,
    upstream: str | None,
    model: str | None,
    api: str | None,
    fields: dict[str, Any],
    options: dict[str, Any],
) -> OpenAISampler | None:
    if upstream is None:
        return None
    from rewardranker.generation import OpenAISampler

    return OpenAISampler(
        upstream,
        model,
        recipe.sampling,
        _prompt(recipe, api),
        api_key=os.environ.get(KEY_VARIABLE) or None,
        max_concurrency=options["concurrency"],
        timeout=options["timeout"],
        retries=options["retries"],
        logprobs=options["logprobs"],
        extra=fields,
    )


def _prompt(recipe: Recipe, api: str | None) -> PromptOptions:
    """The recipe's prompt in the style of the server's API; a plain prompt's instruction says nothing to a chat."""
    from rewardranker.generation import CHAT_INSTRUCTION

    style = {"completions": "plain", "chat": "chat", None: recipe.prompt.style}[api]
    if style == recipe.prompt.style:
        return recipe.prompt
    changes = {"style": style} | ({"instruction": CHAT_INSTRUCTION} if style == "chat" else {})
    return recipe.prompt.model_copy(update=changes)


def _values(option: str, given: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts, the values read as YAML.

    Raises:
        ConfigError: one is not of this form.
    """
    import yaml

    values = {}
    for text in given:
        key, equals, value = text.partition("=")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not key or not equals:
            raise ConfigError(f"{option} {text}: expected KEY=VALUE, the value as in YAML")
    return values
