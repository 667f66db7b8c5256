"""`rewardranker doctor`: what this machine and this installation offer."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from importlib import metadata

import click

from rewardranker.errors import how_to_install

PACKAGES = ("rewardranker", "torch", "transformers", "tokenizers", "accelerate", "numpy", "pydantic")


@click.command(short_help="Versions, cores, device, the judge's isolation, and which extras are installed.")
def command() -> None:
    """Say what this machine and this installation offer, and how to get the rest."""
    for section in (_packages, _machine, _judge, _languages, _extras):
        for name, value in section():
            click.echo(f"{name:<14} {value}")
        click.echo()


def _packages() -> Iterator[tuple[str, str]]:
    from rewardranker.runs import versions

    yield from versions(PACKAGES).items()


def _machine() -> Iterator[tuple[str, str]]:
    import torch

    from rewardranker.models import choose_device

    cores = len(os.sched_getaffinity(0))
    yield "cores", f"{cores} usable of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    yield "torch threads", f"{torch.get_num_threads()} (recipes use {cores} unless launch.threads is set)"
    device = choose_device("auto")
    name = torch.cuda.get_device_name() if device == "cuda" else "no CUDA device is visible"
    yield "device", f"{device} ({name})"


def _judge() -> Iterator[tuple[str, str]]:
    from rewardranker.config import JudgeOptions
    from rewardranker.errors import SandboxError
    from rewardranker.execution import IsolationWarning, ProgramJudge

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IsolationWarning)
            judge = ProgramJudge(JudgeOptions(), workers=1)
    except SandboxError as error:
        yield "judge", f"does not start: {error}"
        return
    with judge:
        yield "judge", f"isolation {judge.isolation}"
        for line in (judge.choice.warning or "").splitlines():
            yield "", line


def _languages() -> Iterator[tuple[str, str]]:
    from rewardranker.execution.languages import LANGUAGES, install_hint, toolchain

    found = {language: toolchain(language) for language in LANGUAGES}
    width = max((len(tools.version) for tools in found.values() if tools and tools.lacking), default=0)
    yield "languages", f"{sum(tools is not None for tools in found.values())} of {len(LANGUAGES)} can be judged here"
    for language, tools in found.items():
        hint = install_hint(language)
        if tools is None:
            yield f"  {language.title}", f"no    {hint}"
        elif hint:
            yield f"  {language.title}", f"part  {tools.version:<{width}}  {hint}"
        else:
            yield f"  {language.title}", f"yes   {tools.version}"


def _extras() -> Iterator[tuple[str, str]]:
    for extra, packages in sorted(extras().items()):
        missing = [package for package in packages if not _installed(package)]
        if missing:
            yield f"[{extra}]", f"missing {', '.join(missing)}: {how_to_install(extra)}"
        else:
            yield f"[{extra}]", f"installed ({', '.join(packages)})"


def extras(requirements: list[str] | None = None) -> dict[str, list[str]]:
    """The packages that each extra of this distribution asks for, without the extras that include one another."""
    found: dict[str, list[str]] = {}
    for requirement in requirements if requirements is not None else metadata.requires("rewardranker") or []:
        match = re.match(r"([\w.-]+)(.*);.*extra == ['\"]([\w-]+)['\"]", requirement)
        if match and match[1] != "rewardranker":
            found.setdefault(match[3], []).append(match[1])
    return found


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
