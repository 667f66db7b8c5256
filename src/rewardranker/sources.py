"""Rows of public data sets: from the Hugging Face hub, or from a local file of the same rows.

Local files are JSON Lines (`.jsonl`), one JSON list (`.json`), either of them compressed (`.gz`), or Parquet. Every row
comes with its place, so that whoever reads its columns can say where something is wrong.

Not guaranteed: that the hub's copy of a data set is still the version that a reader was written for; its columns are
checked, its contents are not.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError, MissingExtraError, ModelError

__all__ = ["HubSet", "check_hub", "json_column", "one_of", "read_rows"]

Located = tuple[str, Mapping[str, Any]]
"""A row's place and the row."""


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set on the hub.

    Attributes:
        files: JSON Lines files of the repository to be read as they are: some repositories describe themselves by a
            program, which `datasets` no longer runs, and in some a column's type changes from row to row, which Arrow
            can't hold.
        arrow: patterns of Arrow files, for the same reason.
    """

    repo: str
    split: str = ""
    config: str | None = None
    files: tuple[str, ...] = ()
    arrow: str = ""


def read_rows(source: HubSet | None, file: str | Path | None) -> Iterator[Located]:
    """The rows of a local file, or of the hub where no file is given.

    Raises:
        DataError: no such file, an empty one, or one that is not what its name says; names file and line.
        MissingExtraError: `datasets` is not installed.
        ModelError: the hub can't be reached.
    """
    if file is not None:
        return _file_rows(Path(file))
    if source is None:
        raise DataError("this data set is not on the hub: give its file")
    return _hub_rows(source)


def check_hub() -> None:
    """
    Raises:
        MissingExtraError: what asks the hub is not installed.
    """
    if find_spec("datasets") is None:
        raise MissingExtraError("datasets", "hub")


def json_column(row: Mapping[str, Any], name: str, where: str) -> Any:
    """The value of a column that holds JSON as text; an empty text is None.

    Raises:
        DataError: the column is missing or is not JSON.
    """
    if name not in row:
        raise DataError(f"{where}: column '{name}' is missing; columns here: {', '.join(sorted(row)) or 'none'}")
    value = row[name]
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: column '{name}': expected JSON text, {error}") from None


def one_of(row: Mapping[str, Any], names: Iterable[str], where: str) -> Any:
    """The first of these columns that is there: versions of a data set differ in names.

    Raises:
        DataError: none is.
    """
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise DataError(
        f"{where}: expected a column {' or '.join(names)}; columns here: {', '.join(sorted(row)) or 'none'}"
    )


# --- files --------------------------------------------------------------------------------------------------------


def _file_rows(path: Path) -> Iterator[Located]:
    count = 0
    try:
        for where, row in _raw_rows(path):
            if not isinstance(row, Mapping):
                raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}; repair or remove it")
            count += 1
            yield where, row
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; give a .jsonl, .json or .parquet file of the data set's rows"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text near byte {error.start}; is it compressed or binary?") from None
    if not count:
        raise DataError(f"{path}: the file has no rows")


def _raw_rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    name = path.name.removesuffix(".gz")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        if name.endswith(".json"):
            text = file.read()
            if text.lstrip().startswith("["):
                for number, row in enumerate(_parsed(text, str(path))):
                    yield f"{path}[{number}]", row
                return
            lines: Iterable[str] = text.split("\n")
        else:
            lines = file
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}:{number}", _parsed(line.rstrip(), f"{path}:{number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if "\n" in text.strip() else f"column {error.colno}"
        raise DataError(f"{where}: broken JSON ({error.msg} at {place}); repair or remove this line") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, too deep
        raise DataError(f"{where}: JSON that can't be read: {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "hub") from None
    with path.open("rb") as handle:
        try:
            number = 0
            for batch in parquet.ParquetFile(handle).iter_batches(64):
                for row in batch.to_pylist():
                    yield f"{path}[{number}]", row
                    number += 1
        except pyarrow.ArrowException as error:
            raise DataError(f"{path}: not a Parquet file that can be read: {error}") from None


# --- the hub ------------------------------------------------------------------------------------------------------


def _hub_rows(source: HubSet) -> Iterator[Located]:
    check_hub()
    if source.files:
        for name in source.files:
            for where, row in _file_rows(Path(_downloaded(source.repo, name))):
                yield f"{source.repo}, {name}:{where.rpartition(':')[2]}", row
        return
    for number, row in enumerate(_loaded(source)):
        yield f"{source.repo}, {source.split}[{number}]", row


def _loaded(source: HubSet) -> Iterable[Mapping[str, Any]]:
    import datasets

    try:
        if source.arrow:
            files = {source.split: f"hf://datasets/{source.repo}/{source.arrow}"}
            return datasets.load_dataset("arrow", data_files=files, split=source.split)
        return datasets.load_dataset(source.repo, source.config, split=source.split)
    except Exception as error:
        raise _unreachable(source.repo, error) from error


def _downloaded(repo: str, name: str) -> str:
    from huggingface_hub import hf_hub_download

    try:
        return str(hf_hub_download(repo, name, repo_type="dataset"))
    except Exception as error:
        raise _unreachable(repo, error) from error


def _unreachable(repo: str, error: Exception) -> ModelError:
    return ModelError(f"{repo} can't be loaded from the hub: {error}; or give a local file, as NAME:FILE")
