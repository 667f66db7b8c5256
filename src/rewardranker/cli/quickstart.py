"""`rewardranker quickstart`: the loop of the packaged recipe `quickstart`, on a CPU."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common, plan

RECIPE = "quickstart"


@click.command(short_help="The whole loop on small synthetic tasks, on a CPU, in minutes.")
@common.recipe_options
@click.option(
    "--output-dir",
    type=common.PathOption,
    default=Path("runs/quickstart"),
    show_default=True,
    help="Folder of the run; one that exists is gone on with.",
)
@click.option(
    "--ablations",
    is_flag=True,
    help="Then run controls over several seeds (longer): random negatives, SFT samples, no positives, KL weights, a "
    "larger generator.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="With --ablations.")
def command(
    config: str | None, overrides: tuple[str, ...], dry_run: bool, output_dir: Path, ablations: bool, seeds: int
) -> None:
    """Run the recipe `quickstart` (or another --config) and print what came out; writes DIR/report.html."""
    recipe = common.load(config or RECIPE, overrides)
    if dry_run:
        plan.show(recipe, plan.loop(recipe, output_dir))
        return
    common.hide_loading_bars()
    if ablations:
        from rewardranker.ablations import run_ablations

        common.finish(run_ablations(recipe, output_dir, seeds))
        return
    from rewardranker.selftraining import self_train

    common.finish(self_train(recipe, output_dir))
