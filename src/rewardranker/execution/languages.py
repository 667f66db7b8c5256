"""Which languages there are, which of them this machine can judge, and what a finished program's exit says.

`find` reads a language's name, `toolchain` looks for its compiler and interpreter and asks for their versions,
`read_exit` turns exit status and output into a verdict's status by the language's row in `language_table.py`.

Not guaranteed: that a toolchain works. It is present and tells its version; whether it compiles a program is seen when
the first one runs.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from rewardranker.errors import DataError
from rewardranker.execution.language_table import LANGUAGES, Command, Language, Library, Way
from rewardranker.execution.sandbox import exits

__all__ = [
    "LANGUAGES",
    "Command",
    "Language",
    "Library",
    "Toolchain",
    "Way",
    "exit_rules",
    "find",
    "install_hint",
    "missing_program",
    "outside_folders",
    "read_exit",
    "toolchain",
    "usable",
]

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Looked at before the user's PATH: what lies here, every user and every sandbox can read."""
BASE_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}
_SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
_PROBE_SECONDS = 30.0
"""The wall clock of one version probe. A JVM on a loaded machine may take several seconds."""


@dataclass(frozen=True)
class Toolchain:
    """What was found on this machine for one language."""

    language: Language
    version: str
    """One line: what compiles and what runs, with versions."""
    programs: Mapping[str, str]
    """Absolute path of each executable, by the name that the row's command lines give it."""
    libraries: Mapping[str, str]
    """The libraries present, by name, with their path (empty for those that the runtime finds by itself)."""
    folders: tuple[str, ...]
    """Folders outside the system's own that the executables need: a sandbox must show them."""

    @property
    def lacking(self) -> tuple[Library, ...]:
        """The libraries that the usual tests need and that are not here."""
        return tuple(library for library in self.language.libraries if library.name not in self.libraries)

    def lacking_for(self, program: str) -> tuple[Library, ...]:
        """Those of `lacking` that this program asks for: it can't be judged here."""
        return tuple(library for library in self.lacking if re.search(library.used, program))

    @property
    def environment(self) -> dict[str, str]:
        """All environment variables of compile and run commands."""
        return {**BASE_ENVIRONMENT, **self.language.environment}

    def compile_ways(self, main: str = "") -> list[list[list[str]]]:
        """The row's ways to compile, with absolute executables.

        Args:
            main: the class with `main`; empty: the row's.
        """
        return [[self._fill(step, main, 0) for step in way] for way in self.language.compile]

    def run_command(self, memory_mb: int, main: str = "") -> list[str]:
        """The row's run command, with absolute executables.

        Args:
            memory_mb: heap that runtimes with a heap limit are given, MiB.
            main: the class with `main`; empty: the row's.
        """
        return self._fill(self.language.run, main, memory_mb)

    def source_name(self, main: str = "") -> str:
        """Name of the source file."""
        return self.language.source.replace("{main}", main or self.language.main_class)

    def _fill(self, command: Command, main: str, memory_mb: int) -> list[str]:
        values = {"{main}": main or self.language.main_class, "{memory_mb}": str(memory_mb)}
        values |= {f"{{library:{lib.name}}}": self.libraries.get(lib.name, "") for lib in self.language.libraries}
        words = []
        for word in command:
            for key, value in values.items():
                word = word.replace(key, value)
            words.append(word)
        return [self.programs.get(words[0], words[0]), *words[1:]]


@functools.cache
def _by_name() -> dict[str, Language]:
    return {name.casefold(): row for row in LANGUAGES for name in (row.code, row.name, *row.aliases)}


def find(name: str) -> Language:
    """The language of this name, MultiPL-E code or alias, in any letter case.

    Raises:
        DataError: there is none; the message names the nearest ones.
    """
    language = _by_name().get(name.strip().casefold())
    if language is None:
        near = difflib.get_close_matches(name.strip().casefold(), _by_name(), n=3, cutoff=0.5)
        nearest = f"did you mean {' or '.join(near)}? " if near else ""
        raise DataError(f"unknown language {name!r}: {nearest}known are {', '.join(row.name for row in LANGUAGES)}")
    return language


@functools.cache
def _toolchain(language_code: str) -> Toolchain | None:
    language = find(language_code)
    if missing_program(language):
        return None
    programs = {name: _first_present(names) or "" for name, names in language.programs.items()}
    versions = [_version(programs, command, language) for command in language.version]
    if None in versions:
        return None
    return Toolchain(
        language=language,
        version="; ".join(version for version in versions if version),
        programs=programs,
        libraries=dict(_libraries(language, programs)),
        folders=tuple(sorted({folder for path in programs.values() for folder in _own_folders(path)})),
    )


def toolchain(language: Language) -> Toolchain | None:
    """What this machine has for a language; None where an executable is missing or does not even tell its version.

    The first call for a language runs its version probes; the answer is kept for this process's life.
    """
    return _toolchain(language.code)


def usable() -> list[Toolchain]:
    """The toolchains of this machine, in the table's order."""
    return [found for language in LANGUAGES if (found := toolchain(language))]


def missing_program(language: Language) -> str | None:
    """The first executable of a language that this machine lacks; alternatives are joined by "or"."""
    for names in language.programs.values():
        if _first_present(names) is None:
            return " or ".join(names)
    return None


def install_hint(language: Language) -> str:
    """What is missing for a language and how to get it; empty where nothing is."""
    missing = missing_program(language)
    if missing:
        return f"{missing} is missing: {language.install}"
    found = toolchain(language)
    if found is None:
        first = " ".join(language.version[0])
        return f"`{first}` does not work: reinstall it ({language.install})"
    return "; ".join(
        f"programs whose tests need {library.name} can't be judged: {library.install}" for library in found.lacking
    )


def read_exit(language: Language, exit_status: int, stdout: str, stderr: str) -> str:
    """The status (see `status.STATUSES`) of a program that ran to its end, from how it ended.

    Args:
        exit_status: as `subprocess` gives it: negative for a signal.

    Returns:
        `passed`, `compile error`, `wrong answer`, `crashed` or `exception`.
    """
    return exits.read_exit(exit_rules(language), exit_status, stdout, stderr)


def exit_rules(language: Language) -> exits.ExitRules:
    """The part of a row that reads a finished program's exit."""
    return exits.ExitRules(**{field.name: getattr(language, field.name) for field in fields(exits.ExitRules)})


@functools.cache
def outside_folders() -> tuple[str, ...]:
    """Folders outside the system's own that some language's executables lie in: a sandbox must show them.

    The judge's own interpreter is not among them: Python programs run in copies of a process that has it open.
    """
    paths = [_first_present(names) for row in LANGUAGES if row.code != "py" for names in row.programs.values()]
    return tuple(sorted({folder for path in paths if path for folder in _own_folders(path)}))


def _first_present(names: tuple[str, ...]) -> str | None:
    for name in names:
        path = shutil.which(name, path=f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}")
        if path:
            return _behind_rustup(path)
    return None


def _behind_rustup(path: str) -> str:
    """The compiler itself where a path is rustup's stand-in, which needs the user's home folder to find it."""
    if Path(path).resolve().name != "rustup":
        return path
    kept = {key: os.environ[key] for key in ("HOME", "PATH", "RUSTUP_HOME", "CARGO_HOME") if key in os.environ}
    output = _output([path, "--print", "sysroot"], kept)
    return str(Path(output.strip()) / "bin" / Path(path).name) if output else path


def _output(command: list[str], environment: Mapping[str, str]) -> str | None:
    """Both streams of a command, None where it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PROBE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def _version(programs: Mapping[str, str], command: Command, language: Language) -> str | None:
    text = _output([programs[command[0]], *command[1:]], {**BASE_ENVIRONMENT, **language.environment})
    number = re.search(r"\d+(\.\d+)+[-+.\w]*", text or "")
    return f"{Path(programs[command[0]]).name} {number[0]}" if number else None


def _libraries(language: Language, programs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for library in language.libraries:
        if library.files:
            path = next((path for path in library.files if os.path.exists(path)), None)
            if path:
                yield library.name, path
        elif _output([programs[library.probe[0]], *library.probe[1:]], BASE_ENVIRONMENT) is not None:
            yield library.name, ""


def _own_folders(path: str) -> Iterator[str]:
    """The installation that an executable outside the system's folders belongs to: what holds its `bin`."""
    for place in {path, str(Path(path).resolve())}:
        if not place.startswith(tuple(f"{folder}/" for folder in _SYSTEM_FOLDERS)):
            folder = Path(place).parent
            yield str(folder.parent if folder.name == "bin" else folder)
