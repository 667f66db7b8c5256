"""`rewardranker reward`: preferences -> a reward model."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common, plan

SECTIONS = ("model", "prompt", "reward")


@click.command(short_help="Train a reward model: GROUPS.jsonl -> DIR/reward")
@click.argument("groups", type=common.PathOption)
@common.recipe_options
@click.option("--model", required=True, help="Where the weights start: a causal language model or a reward model.")
@click.option("--validation", type=common.PathOption, help="Held-out groups, measured before and after.")
@common.output_dir_option
def command(
    groups: Path,
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    model: str,
    validation: Path | None,
    output_dir: Path,
) -> None:
    """Train a reward model on preference groups, or on any JSON Lines of `prompt`, `chosen`, `rejected`."""
    from rewardranker.preference import read_groups

    recipe = common.load(config, overrides)
    common.require_files(groups, validation)
    train, held_out = read_groups(groups), read_groups(validation) if validation is not None else []
    output = output_dir / "reward"
    if dry_run:
        pairs = sum(group.pairs for group in train)
        plan.check_adapters(recipe)
        does = f"would train {model} on {len(train):,} groups ({pairs:,} pairs) of {groups} into {output}"
        plan.show(recipe, [does, *plan.models({"--model": model})], (*SECTIONS, "launch"))
        return
    from rewardranker.reward import train_reward
    from rewardranker.reward.trainer import reward_figures
    from rewardranker.selftraining import own_progress
    from rewardranker.shared_runs import SharedRunDirectory

    device = common.start(recipe)

    options = common.training_options(recipe, SECTIONS, groups=groups, validation=validation, model=model)
    with SharedRunDirectory(output_dir, "reward", options) as run:

        def work() -> dict[str, float]:
            train_reward(
                train,
                model,
                None,
                recipe.reward,
                recipe.prompt,
                output,
                validation_groups=held_out,
                lora_rank=recipe.model.lora_rank,
                lora_alpha=recipe.model.lora_alpha,
                dtype=recipe.model.dtype,
                progress=own_progress(),
                launch=recipe.launch,
                device=device,
            )
            return reward_figures(output)

        common.show_figures(run.stage("reward", work, together=True), output)
