"""`rewardranker sample`: tasks -> programs."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common, plan


@click.command(short_help="Draw programs for tasks: -> SAMPLES.jsonl")
@common.recipe_options
@click.option("--model", help="Folder, hub name, `.gguf` file, or `smollm2-135m`; default: the recipe's model.generator.")
@click.option("--tasks", "name", metavar="NAME", help="See `rewardranker tasks`; default: the recipe's tasks.train.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many tasks.")
@click.option("--round", "round_", type=click.IntRange(min=0), default=0, help="Written into every sample.")
@click.option(
    "--output", type=common.PathOption, required=True, help="JSON Lines file; one that exists is gone on with."
)
def command(
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    model: str | None,
    name: str | None,
    limit: int | None,
    round_: int,
    output: Path,
) -> None:
    """Draw `sampling.n` programs for each task. Stopped and given again, the command goes on where it stopped."""
    from rewardranker.tasks import load_tasks

    recipe = common.load(config, overrides)
    model, name = model or recipe.model.generator, name or recipe.tasks.train
    if model == "scratch":
        raise click.UsageError("the recipe's generator is trained from nothing: give --model, a folder made by `sft`")
    sampling = recipe.sampling
    if dry_run:
        lines = [
            f"would draw {sampling.n} programs for each task from {model} into {output}",
            *plan.task_sets(recipe.tasks.seed, {"--tasks": (name, limit)}),
            *plan.models({"--model": model}),
        ]
        plan.show(recipe, lines, ("prompt", "sampling", "launch"))
        return
    tasks = load_tasks(name, limit, recipe.tasks.seed)
    from rewardranker.generation import TransformersSampler, sample_to_file
    from rewardranker.models import load_causal_lm
    from rewardranker.progress import Progress

    loaded, tokenizer = load_causal_lm(model, recipe.model.dtype, common.start(recipe))
    sampler = TransformersSampler(loaded, tokenizer, sampling, recipe.prompt, model)
    figures = sample_to_file(sampler, tasks, sampling.n, output, round=round_, progress=Progress())
    common.show_figures(figures, output)
