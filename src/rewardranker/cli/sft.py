"""`rewardranker sft`: (prompt, completion) examples -> a fine-tuned generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardranker.cli import common, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe

SECTIONS = ("model", "prompt", "tasks", "sft")


@dataclass(frozen=True, slots=True)
class Example:
    """A row of `--data`."""

    prompt: str
    completion: str
    language: str = "python"
    """Names the fence around the completion in `chat` style."""


@click.command(short_help="Fine-tune the generator: -> DIR/model")
@common.recipe_options
@click.option(
    "--data",
    type=common.PathOption,
    help="JSON Lines with `prompt` and `completion`; default: the reference solutions of the recipe's tasks.train "
    "(of synthetic tasks, their corpus).",
)
@common.output_dir_option
def command(config: str | None, overrides: tuple[str, ...], dry_run: bool, data: Path | None, output_dir: Path) -> None:
    """Fine-tune the recipe's model.generator (or train it from scratch) on correct programs."""
    recipe = common.load(config, overrides)
    common.require_files(data)
    output = output_dir / "model"
    if dry_run:
        plan.check_adapters(recipe)
        source = f"{len(_examples(recipe, data)):,} examples of {data}" if data else plan.sft_examples(recipe)
        does = f"would train {recipe.model.generator} on {source} into {output}"
        plan.show(recipe, [does, *plan.models({"model.generator": recipe.model.generator})], (*SECTIONS, "launch"))
        return
    from rewardranker.policy import train_sft
    from rewardranker.policy.sft import sft_figures
    from rewardranker.selftraining import own_progress, start_model
    from rewardranker.shared_runs import SharedRunDirectory

    device = common.start(recipe)
    examples = _examples(recipe, data)
    with SharedRunDirectory(output_dir, "sft", common.training_options(recipe, SECTIONS, data=data)) as run:

        def work() -> dict[str, float]:
            model, tokenizer = start_model(recipe, examples, device)
            train_sft(
                examples,
                model,
                tokenizer,
                recipe.sft,
                recipe.prompt,
                output,
                lora_rank=recipe.model.lora_rank,
                lora_alpha=recipe.model.lora_alpha,
                progress=own_progress(),
                launch=recipe.launch,
                device=device,
            )
            return sft_figures(output)

        common.show_figures(run.stage("sft", work, together=True), output)


def _examples(recipe: Recipe, data: Path | None) -> list[tuple[str, str, str]]:
    from rewardranker.runs import read_records
    from rewardranker.tasks import load_tasks, sft_examples

    options = recipe.tasks
    if data is not None:
        return [(example.prompt, example.completion, example.language) for example in read_records(data, Example)]
    synthetic = options.train.startswith("synthetic:")
    return sft_examples(options, [] if synthetic else load_tasks(options.train, options.train_limit, options.seed))
