"""The command line: one thin file for each command, imported when the command is used or listed.

No module here imports anything heavy (torch, numpy, pydantic) at its top: `rewardranker --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

import click

from rewardranker.errors import RewardRankerError

COMMANDS = {
    "Start here": ("quickstart", "run", "launch", "report", "doctor", "config", "tasks"),
    "The stages, one by one": (
        "sft",
        "sample",
        "judge",
        "prefer",
        "reward",
        "ppo",
        "rank",
        "eval",
        "weights",
        "calibrate",
    ),
    "Serve": ("serve",),
}

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell reports it."""


class LazyGroup(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"rewardranker.cli.{cmd_name}").command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"Did you mean '{near[0]}'?" if near else "See 'rewardranker --help'."
            raise click.UsageError(f"No such command '{args[0]}'. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in COMMANDS.items():
            with formatter.section(title):
                commands = [(name, self.get_command(ctx, name)) for name in names]
                formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in commands if command])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rewardranker", prog_name="rewardranker")
def group() -> None:
    """Sample many programs, let a trained reranker pick the best.

    Common form: rewardranker COMMAND --config RECIPE key=value ... --output-dir DIR. Every long command can be
    stopped at any time; the same command goes on where it stopped.
    """


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning for the user in plain words; others with the place in the code that they are about."""
    if category.__module__.startswith("rewardranker."):
        click.secho(f"warning: {message}", fg="yellow", err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)


def enter_launch() -> None:
    """As one of the processes of a `launch`: end with the launcher, and leave standard output to the main process."""
    if "REWARDRANKER_LAUNCHER" not in os.environ or "RANK" not in os.environ:
        return
    import ctypes
    import signal

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG: a launcher killed outright can't end its processes any more
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != int(os.environ["REWARDRANKER_LAUNCHER"]):
        sys.exit(1)
    if os.environ["RANK"] != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)


def _own_name() -> str:
    """Which process of a launch speaks."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return f"process {os.environ['RANK']} of {size}: " if size > 1 and "RANK" in os.environ else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    An error that this package raises on purpose is a message on standard error and the status of its class; any other
    exception is a bug and keeps its traceback.
    """
    # PyTorch's threads spin while they wait for each other. On a machine that does other work too, that costs most of
    # its speed; after so many turns they sleep, which an idle machine does not notice.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    enter_launch()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            result = group.main(
                list(arguments) if arguments is not None else None, prog_name="rewardranker", standalone_mode=False
            )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        if not _own_name():  # in a launch the launcher says it, once
            click.echo("\nstopped; the same command goes on where it stopped", err=True)
        return INTERRUPTED
    except RewardRankerError as error:
        click.echo(f"error: {_own_name()}{error}", err=True)
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe has left (`| head`): nothing more to say, also not at exit
        sys.stdout = None
        return 1
    return result if isinstance(result, int) else 0
