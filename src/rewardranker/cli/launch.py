"""`rewardranker launch`: a command of this package on several processes, through accelerate's launcher."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.errors import MissingExtraError, ProcessError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

COMMANDS = ("sft", "reward", "ppo", "sample", "run", "quickstart")
"""What several processes can share. The others run in one: they judge, rank or read files."""
CONFIGS = ("single", "ddp", "fsdp", "zero2", "zero3", "multi-node")


@click.command(
    short_help="Run a command on several processes, GPUs or machines.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--num-processes", type=click.IntRange(min=1), help="In total; default: the GPUs of all machines, else 1."
)
@click.option(
    "--config-name",
    type=click.Choice(CONFIGS),
    help="How a model is spread over the processes; default: ddp for several, single for one.",
)
@click.option("--num-machines", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--machine-rank", type=click.IntRange(min=0), default=0, show_default=True, help="This machine's number.")
@click.option("--main-address", default="127.0.0.1", help="Of machine 0; needed with several machines.")
@click.option("--main-port", type=click.IntRange(0, 65535), help="Default: a free one; 29500 with several machines.")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND ...")
def command(
    num_processes: int | None,
    config_name: str | None,
    num_machines: int,
    machine_rank: int,
    main_address: str,
    main_port: int | None,
    arguments: tuple[str, ...],
) -> int:
    """Run `rewardranker COMMAND ...` on several processes; its results do not depend on their number.

    COMMAND is sft, reward, ppo, sample, run or quickstart, with its own options behind it:

      rewardranker launch --num-processes 2 sft --config RECIPE --output-dir DIR
    """
    if arguments[0] not in COMMANDS:
        fault = "runs in one process: start it without launch" if _is_command(arguments[0]) else "is no command"
        raise click.UsageError(f"'{arguments[0]}' {fault}. Several processes can share {', '.join(COMMANDS)}")
    if "--ablations" in arguments:
        raise click.UsageError("--ablations runs in one process: start it without launch")
    if num_machines > 1 and main_address == "127.0.0.1":
        raise click.UsageError("with --num-machines give --main-address, the address of machine 0")
    if num_machines > 1 and not _resolves(main_address):
        raise click.UsageError(
            f"--main-address {main_address} is not known here: give the name or IP address by which this machine "
            "reaches machine 0"
        )
    if machine_rank >= num_machines:
        raise click.UsageError(f"--machine-rank is {machine_rank}, but there are {num_machines} machines, from 0")
    import torch

    processes = num_processes or max(1, torch.cuda.device_count()) * num_machines
    if processes % num_machines:
        raise click.UsageError(f"{processes} processes do not divide among {num_machines} machines")
    name = config_name or ("single" if processes == 1 else "multi-node" if num_machines > 1 else "ddp")
    if name == "single":
        if processes > 1:
            raise click.UsageError(f"--config-name single is one process, not {processes}")
        from rewardranker.cli import main

        return main(arguments)
    if name.startswith("zero"):
        _check_deepspeed()
    port = main_port if main_port is not None else (29500 if num_machines > 1 else 0)
    options = {
        "config_file": config_file(name),
        "num_processes": processes,
        "num_machines": num_machines,
        "machine_rank": machine_rank,
        "main_process_ip": main_address,
        "main_process_port": port,
    }
    return launch(options, arguments)


def config_file(name: str) -> Path:
    """One of the named accelerate configurations that come with the package."""
    return Path(__file__).parent.parent / "accelerate" / f"{name}.yaml"


def launch(options: dict[str, Any], arguments: tuple[str, ...]) -> int:
    """Start the processes and wait for them.

    Returns:
        0, or the status of the process that failed first (137 where it was killed).
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    _quiet_launchers()
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    parsed = launch_command_parser().parse_args([*given, "--module", "rewardranker", *arguments])
    os.environ["REWARDRANKER_LAUNCHER"] = str(os.getpid())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(accelerate|torch)\.")
            launch_command(parsed)
    except ChildFailedError as error:
        return _report(error, int(options["num_processes"]))
    except SignalException:
        raise click.Abort from None
    except ConnectionError as error:
        raise ProcessError(f"the processes can't meet: {error}: give another --main-port") from error
    return 0


def _quiet_launchers() -> None:
    """What torch and accelerate log of a failure is said by `_report`, in fewer words."""
    import torch.distributed.run  # noqa: F401  each of its modules sets its own logger's level when it is imported

    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("torch.distributed", "accelerate")):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _is_command(name: str) -> bool:
    group = click.get_current_context().find_root().command
    return isinstance(group, click.Group) and name in group.list_commands(click.get_current_context())


def _resolves(address: str) -> bool:
    try:
        socket.getaddrinfo(address, None)
    except OSError:
        return False
    return True


def _report(error: ChildFailedError, processes: int) -> int:
    rank, failure = error.get_first_failure()
    code = int(failure.exitcode)
    if code < 0:
        name = signal.Signals(-code).name
        why = " (often by the system, out of memory)" if -code == signal.SIGKILL else ""
        said = f"was killed by {name}{why}"
    else:
        said = f"failed with status {code}; its message is above"
    click.echo(
        f"error: process {rank} of {processes} (pid {failure.pid}) {said}. The others were ended; the same command "
        "goes on from what is complete on disk",
        err=True,
    )
    sys.stderr.flush()
    return 128 - code if code < 0 else code


def _check_deepspeed() -> None:
    from importlib.util import find_spec

    if find_spec("deepspeed") is None:
        raise MissingExtraError("deepspeed", "deepspeed")
