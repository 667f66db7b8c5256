"""`rewardranker report`: the page, the plots and the table of what was measured."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common


@click.command(short_help="The page, plots and table of a finished run or an evaluation.")
@click.argument("measured", metavar="RUN_OR_EVAL", type=common.PathOption)
@click.option("--output", type=common.PathOption, help="The HTML page; default: report.html in the folder.")
@click.option(
    "--plots",
    type=common.PathOption,
    help="Folder for every plot as SVG and PNG, for papers; default: plots/ beside the page.",
)
@click.option("--no-plots", is_flag=True, help="Write the page alone.")
@click.option("--table-only", is_flag=True, help="Print the table, write nothing.")
def command(measured: Path, output: Path | None, plots: Path | None, no_plots: bool, table_only: bool) -> None:
    """Print the main table of RUN_OR_EVAL and write its page, one HTML file that needs no network.

    RUN_OR_EVAL is the folder of `rewardranker run`, that of `rewardranker eval --output`, or the evaluation.json in it.
    """
    from rewardranker.report import read_figures, terminal_table, write_report

    if no_plots and plots is not None:
        raise click.UsageError("--plots and --no-plots exclude each other")
    click.echo(terminal_table(read_figures(measured)), nl=False)
    if table_only:
        return
    folder = measured if measured.is_dir() else measured.parent
    page = output or folder / "report.html"
    plots = None if no_plots else plots or page.parent / "plots"
    click.echo(f"page: {write_report(measured, page, plots)}")
    if plots is not None:
        click.echo(f"plots: {plots}")
