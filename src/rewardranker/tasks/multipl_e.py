"""MultiPL-E (Cassano et al. 2022, arXiv 2208.08227): HumanEval and MBPP translated into some twenty languages.

Written for version 3 of the hub's `nuprl/MultiPL-E` (configurations `humaneval-cpp`, `mbpp-java`, ..., split `test`)
and for the same rows in a file; columns `name`, `language`, `prompt`, `tests`, `stop_tokens`.

* Extraction: the completion continues the prompt's last function. Program: prompt, completion, line break, tests.
* Stop: the row's `stop_tokens`, which take away the bracket that closes the function.
* Tests: source text; exit status 0 is a pass.

Quirks: `tests` begins with the bracket that closes the function in C++, Java, C#, Rust, Swift, Scala and Bash, so a
completion that closes it itself and is not cut does not compile. Go's rows name the language `go_test.go`. Python is
not on the hub; files that name it follow OpenAI's schema. As in MultiPL-E's own sampling, the prompt is read without
the white space at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import ConfigError, DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.tasks.humaneval import humaneval_task
from rewardranker.types import Task

HUB = "nuprl/MultiPL-E"
_CODES = "cpp cs d go java jl js lua php pl py r rb rkt rs scala sh swift ts"
_NAMES = "cpp csharp d go java julia javascript lua php perl python r ruby racket rust scala bash swift typescript"
LANGUAGES = dict(zip(_CODES.split(), _NAMES.split(), strict=True))
"""Names of the languages by MultiPL-E's codes. The hub has more (`adb`, `clj`, `dart`, `elixir`, `hs`, `ml`), which
keep their codes as names."""
_VARIANT = re.compile(r"(humaneval|mbpp)-([a-z]+)")
_FUNCTION = {
    "racket": re.compile(r"\(define +\(([^\s()]+)"),
    "r": re.compile(r"([\w.]+) *<- *function"),
    "perl": re.compile(r"\bsub +(\w+)"),
}
_CALL_SHAPED = re.compile(r"(\w+)\s*(?:<[^<>()]*>)?\s*\(")


@dataclass(frozen=True, slots=True)
class MultiPLERow:
    """The columns used."""

    name: str
    language: str
    prompt: str
    tests: str
    stop_tokens: tuple[str, ...]


def check_variant(variant: str) -> None:
    """
    Raises:
        ConfigError: not `humaneval-LANGUAGE` or `mbpp-LANGUAGE`.
    """
    if not _VARIANT.fullmatch(variant):
        raise ConfigError(
            f"multipl-e:{variant}: expected humaneval-LANGUAGE or mbpp-LANGUAGE, with one of {', '.join(LANGUAGES)}"
        )


def multipl_e_tasks(variant: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of one configuration.

    Args:
        variant: `humaneval-cpp`, `mbpp-java`, ...

    Raises:
        ConfigError: no such configuration.
        DataError: a row is broken, or of another language than the configuration.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    check_variant(variant)
    origin, _, code = variant.partition("-")
    code = "py" if code == "python" else code
    if code == "py" and file is None:
        raise ConfigError(f"multipl-e:{variant} is not on the hub: give its file, or use `humaneval` or `mbpp:test`")
    for where, row in read_rows(HubSet(HUB, "test", variant), file):
        if code == "py" and "canonical_solution" in row:
            yield humaneval_task(row, where)
        else:
            yield multipl_e_task(row, where, origin, code)


def multipl_e_task(row: Mapping[str, Any], where: str, origin: str, code: str) -> Task:
    """One row as a task.

    Raises:
        DataError: a column is missing or wrong, or the row is of another language.
    """
    columns = from_row(row, MultiPLERow, where)
    if columns.language.split("_")[0] != code:
        raise DataError(f"{where}: column 'language' is '{columns.language}', but the tasks asked for are '{code}'")
    if not columns.tests.strip():
        raise DataError(f"{where}: column 'tests' is empty: nothing would decide the programs")
    language = LANGUAGES.get(code, code)
    return Task(
        task_id=f"multipl-e/{origin}-{code}/{columns.name}",
        prompt=columns.prompt.rstrip(),
        language=language,
        entry_point=function_of_prompt(columns.prompt, language),
        tests=columns.tests,
        stop=tuple(stop for stop in columns.stop_tokens if stop),
        metadata={"source": f"multipl-e-{origin}", "split": "test", "name": columns.name},
    )


def function_of_prompt(prompt: str, language: str) -> str | None:
    """Name of the function that a prompt ends in."""
    lines = prompt.rstrip().splitlines()
    if language in _FUNCTION:
        names = [match[1] for line in lines if (match := _FUNCTION[language].search(line))]
    else:
        names = [match[1] for line in lines[-1:] if (match := _CALL_SHAPED.search(line))]
    return names[-1] if names else None
