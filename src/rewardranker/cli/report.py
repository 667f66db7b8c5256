"""`rewardranker report`: the page and the table of a run that was measured."""

from __future__ import annotations

from pathlib import Path

import click

from rewardranker.cli import common


@click.command(short_help="The page and the table of a finished run.")
@click.argument("run_dir", type=common.PathOption)
@click.option("--output", type=common.PathOption, help="The HTML page; default: RUN_DIR/report.html.")
@click.option("--table-only", is_flag=True, help="Print the table, write no page.")
def command(run_dir: Path, output: Path | None, table_only: bool) -> None:
    """Print the main table of RUN_DIR and write its page, from RUN_DIR/evaluation.json."""
    from rewardranker.report import read_figures, terminal_table, write_report

    click.echo(terminal_table(read_figures(run_dir)), nl=False)
    if not table_only:
        click.echo(f"page: {write_report(run_dir, output)}")
