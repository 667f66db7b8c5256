"""`rewardranker run`: the whole self-training loop."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common, plan


@click.command(short_help="The whole self-training loop of a recipe.")
@common.recipe_options
@common.output_dir_option
def command(config: str | None, overrides: tuple[str, ...], dry_run: bool, output_dir: Path) -> None:
    """Run the whole self-training loop, or go on with the one in DIR; writes DIR/report.html."""
    recipe = common.load(config, overrides)
    if dry_run:
        plan.show(recipe, plan.loop(recipe, output_dir))
        return
    from rewardranker.selftraining import self_train

    common.hide_loading_bars()
    common.finish(self_train(recipe, output_dir))
