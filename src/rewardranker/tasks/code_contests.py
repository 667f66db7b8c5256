"""CodeContests (Li et al. 2022, arXiv 2203.07814): problems of Codeforces and other sites, with many tests.

Written for the hub's `deepmind/code_contests` (Parquet; splits `train`, `valid`, `test`): `name, description,
public_tests, private_tests, generated_tests` (each with lists `input` and `output`), `source, difficulty` (numbers),
`solutions` (lists `language`, `solution`), `cf_rating, time_limit, input_file, output_file, ...`. Lists of objects in
place of objects of lists read alike.

Names: `code-contests:SPLIT` for programs in Python, `code-contests:SPLIT-LANGUAGE` with `python`, `cpp` or `java`.

* Extraction: the prompt is a comment with the problem and how it is read and printed; the program follows.
* Stop: in Python, another text in quotes.
* Tests: public, private and generated ones, in this order; printed text, numbers within 1e-5, letter case and line
  breaks do not matter, as in the set's own checker.
* References: the first correct solution in the language; for Python one that is Python 3 by its syntax.

Quirks: names are not ids (tasks are numbered as rows); problems that read or write files and rows without tests are
left out, counted and told as a warning; images are lost from the descriptions. Not guaranteed: that a problem has one
right answer. The outputs of generated tests are what correct solutions agreed on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import ConfigError, DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.tasks.prose import STOP, LeftOut, parses, prose_prompt, unix
from rewardranker.types import Comparison, StdioTest, Task

SPLITS = ("train", "valid", "test")
LANGUAGES = {"python": 3, "cpp": 2, "java": 4}
"""Numbers in `solutions.language`; 1 is Python 2, 0 is unknown."""
SOURCES = ("unknown", "codechef", "codeforces", "hackerearth", "codejam", "atcoder", "aizu")
DIFFICULTIES = ("unknown", "easy", "medium", "hard", "harder", "hardest", "external", *"abcdefghijklmnopqrstuv")
"""By number; letters are Codeforces's places of a problem in its contest."""
COMPARISON = Comparison(tolerance=1e-5, ignore_case=True, ignore_lines=True)


@dataclass(frozen=True, slots=True)
class CodeContestsRow:
    """The columns used, but for tests and solutions."""

    name: str
    description: str
    source: int = 0
    difficulty: int = 0
    cf_rating: int = 0
    input_file: str = ""
    output_file: str = ""


def parse_variant(variant: str) -> tuple[str, str]:
    """Split and language.

    Raises:
        ConfigError: no such split or language.
    """
    split, _, language = variant.partition("-")
    language = language or "python"
    if split not in SPLITS or language not in LANGUAGES:
        raise ConfigError(
            f"code-contests:{variant}: expected SPLIT or SPLIT-LANGUAGE; splits: {', '.join(SPLITS)}; languages: "
            f"{', '.join(LANGUAGES)}"
        )
    return split, language


def code_contests_tasks(variant: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of a split, to be solved in one language.

    Raises:
        ConfigError: no such variant.
        DataError: a row is broken.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    split, language = parse_variant(variant)
    left_out = LeftOut(f"code-contests:{variant}")
    for number, (where, row) in enumerate(read_rows(HubSet("deepmind/code_contests", split), file)):
        columns = from_row(row, CodeContestsRow, where)
        tests = tuple(test for name in _TESTS for test in _tests(row, name, where))
        if columns.input_file or columns.output_file:
            left_out.row("it reads or writes files", where)
        elif not tests:
            left_out.row("no tests", where)
        else:
            request = f"{columns.description.strip()}\n\nRead from standard input and write to standard output."
            yield Task(
                task_id=f"code-contests/{split}/{number}",
                prompt=prose_prompt(request, language),
                language=language,
                inputs=tests,
                comparison=COMPARISON,
                reference=_reference(row, language, where),
                stop=STOP if language == "python" else (),
                metadata={**_labels(columns, where), "source": "code-contests", "split": split},
            )
    left_out.tell()


_TESTS = ("public_tests", "private_tests", "generated_tests")


def _labels(row: CodeContestsRow, where: str) -> dict[str, str]:
    if not (0 <= row.source < len(SOURCES) and 0 <= row.difficulty < len(DIFFICULTIES)):
        raise DataError(f"{where}: unknown 'source' {row.source} or 'difficulty' {row.difficulty}")
    labels = {"name": row.name, "platform": SOURCES[row.source], "difficulty": DIFFICULTIES[row.difficulty]}
    return {**labels, "rating": str(row.cf_rating)} if row.cf_rating else labels


def _tests(row: Mapping[str, Any], name: str, where: str) -> Iterator[StdioTest]:
    for given, printed in _pairs(row, name, ("input", "output"), where):
        if not (isinstance(given, str) and isinstance(printed, str)):
            raise DataError(f"{where}: column '{name}': expected texts, got {str((given, printed))[:80]}")
        yield StdioTest(given, printed)


def _reference(row: Mapping[str, Any], language: str, where: str) -> str | None:
    if row.get("solutions") is None:
        return None
    for number, solution in _pairs(row, "solutions", ("language", "solution"), where):
        if number == LANGUAGES[language] and (language != "python" or parses(unix(solution))):
            return unix(solution).rstrip() + "\n"
    return None


def _pairs(row: Mapping[str, Any], name: str, keys: tuple[str, str], where: str) -> list[tuple[Any, Any]]:
    """The pairs in an object of two lists or in a list of objects."""
    value = row.get(name)
    first, second = keys
    if value is None and name in row:
        return []
    if isinstance(value, Mapping) and all(isinstance(value.get(key), list) for key in keys):
        if len(value[first]) != len(value[second]):
            raise DataError(f"{where}: column '{name}': {len(value[first])} of '{first}', {len(value[second])} others")
        return list(zip(value[first], value[second], strict=True))
    if isinstance(value, list) and all(isinstance(item, Mapping) and {*keys} <= item.keys() for item in value):
        return [(item[first], item[second]) for item in value]
    raise DataError(f"{where}: column '{name}': expected lists '{first}' and '{second}', got {str(value)[:60]!r}")
