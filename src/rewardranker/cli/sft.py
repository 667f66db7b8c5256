"""`rewardranker sft`: (prompt, completion) examples -> a fine-tuned generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.cli import common
from rewardranker.errors import DataError

if TYPE_CHECKING:
    from rewardranker.config import Recipe

SECTIONS = ("model", "prompt", "tasks", "sft")


@dataclass(frozen=True, slots=True)
class Example:
    """A row of `--data`."""

    prompt: str
    completion: str


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
    examples = _examples(recipe, data)
    output = output_dir / "model"
    if dry_run:
        plan = f"would train {recipe.model.generator} on {len(examples)} examples into {output}"
        common.show_plan(recipe, [plan], (*SECTIONS, "launch"))
        return
    from rewardranker.policy import train_sft
    from rewardranker.policy.sft import sft_figures
    from rewardranker.progress import Progress
    from rewardranker.runs import RunDirectory

    with RunDirectory(output_dir, "sft", common.training_options(recipe, SECTIONS, data=data)) as run:

        def work() -> dict[str, float]:
            device = common.start(recipe)
            model, tokenizer = _start_model(recipe, examples, device)
            train_sft(
                examples,
                model,
                tokenizer,
                recipe.sft,
                recipe.prompt,
                output,
                lora_rank=recipe.model.lora_rank,
                lora_alpha=recipe.model.lora_alpha,
                progress=Progress(),
                device=device,
            )
            return sft_figures(output)

        common.show_figures(run.stage("sft", work), output)


def _examples(recipe: Recipe, data: Path | None) -> list[tuple[str, str]]:
    from rewardranker.runs import read_records
    from rewardranker.tasks import corpus, load_tasks

    options = recipe.tasks
    if data is not None:
        return [(example.prompt, example.completion) for example in read_records(data, Example)]
    if options.train.startswith("synthetic:"):
        return [(p, c) for p, c, _ in corpus(options.corpus_size, options.bug_share, options.seed)]
    tasks = load_tasks(options.train, options.train_limit, options.seed)
    examples = [(task.prompt, task.reference) for task in tasks if task.reference]
    if not examples:
        raise DataError(f"no task of {options.train} has a `reference` to learn from: give --data")
    return examples


def _start_model(recipe: Recipe, examples: list[tuple[str, str]], device: str) -> tuple[Any, Any]:
    from rewardranker.models import load_causal_lm, new_llama
    from rewardranker.tokenization import train_tokenizer

    options = recipe.model
    if options.generator != "scratch":
        return load_causal_lm(options.generator, options.dtype, device)
    tokenizer = train_tokenizer([prompt + completion for prompt, completion in examples], options.scratch.vocabulary)
    return new_llama(options.scratch, tokenizer, recipe.sft.seed), tokenizer
