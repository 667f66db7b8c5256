"""What a page is made of, read from a run's folder or from that of an evaluation.

| file | of a run | of an evaluation |
|---|---|---|
| `evaluation.json` | needed | needed |
| tasks | `tasks/evaluation.jsonl` | `tasks.jsonl` |
| samples, verdicts | `evaluation/GENERATOR/` | `samples.jsonl`, `verdicts.jsonl` |
| scores | `evaluation/GENERATOR/scores.jsonl` | `rankings.jsonl`, `rankings/*.jsonl` |

What an evaluation's folder lacks is looked for where the document's `inputs` say that it was. A page without records
shows the examples that a run's document has, or no programs; `Content.missing` says what was not found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError
from rewardranker.report.evaluations import from_evaluation, is_evaluation
from rewardranker.report.figures import EVALUATED, FILE, Evaluation, PPORun, parse_figures, ppo_runs, read_json
from rewardranker.report.programs import (
    Key,
    Program,
    Programs,
    column_scores,
    gather,
    of_examples,
    ranking_scores,
    read_programs,
    shown_task,
    weighted_sums,
)
from rewardranker.runs import read_records
from rewardranker.types import Ranking, Task


@dataclass(frozen=True, slots=True)
class Content:
    """All that a page shows."""

    folder: Path
    evaluation: Evaluation
    programs: Programs | None = None
    missing: str = ""
    """Why there are no programs, or not all of them; empty where nothing is missing."""
    trainings: tuple[PPORun, ...] = ()
    ablations: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""


def read_document(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """The folder and the parsed `evaluation.json` of a run or an evaluation, given by folder or by file.

    Raises:
        DataError: there is none, or it is not a JSON object.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() or not path.suffix else path
    document = read_json(file)
    if document is None:
        raise DataError(
            f"{file}: no such file; a run that is not measured yet has none (`rewardranker run` writes it at its "
            "end), `rewardranker eval --output DIR` writes it for an evaluation"
        )
    return file.parent, document


def parse_document(document: Mapping[str, Any], folder: Path) -> Evaluation:
    """The figures of either kind of document.

    Raises:
        DataError: it is of neither kind, or lacks a column.
    """
    where = str(folder / FILE)
    if is_evaluation(document):
        model = str(document.get("model") or "")
        return from_evaluation(document, model or folder.resolve().name, where)
    if "populations" not in document:
        have = ", ".join(sorted(map(str, document))[:8]) or "none"
        raise DataError(
            f"{where}: neither the figures of a run ('populations') nor of `rewardranker eval` ('schema'): it has the "
            f"keys {have}"
        )
    return parse_figures(document, where)


def read_figures(path: str | Path) -> Evaluation:
    """The figures of a measured run or an evaluation.

    Raises:
        DataError: there are none, or they are broken.
    """
    folder, document = read_document(path)
    return parse_document(document, folder)


def read_content(path: str | Path) -> Content:
    """All that is there to show.

    Raises:
        DataError: a file is broken, or the records do not fit each other.
    """
    folder, document = read_document(path)
    evaluation = parse_document(document, folder)
    if is_evaluation(document):
        programs, missing = _of_evaluation(folder, document)
        return Content(folder, evaluation, programs, missing, manifest=read_json(folder / "manifest.json") or {})
    programs, lengths, missing = _of_run(folder, evaluation, document)
    recipe = folder / "recipe.yaml"
    return Content(
        folder,
        with_tokens(evaluation, lengths),
        programs,
        missing,
        tuple(ppo_runs(folder)),
        read_json(folder / "ablations.json"),
        read_json(folder / "manifest.json") or {},
        recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
    )


def with_tokens(evaluation: Evaluation, lengths: Mapping[str, float]) -> Evaluation:
    """The tokens that each point of a run's curves costs: n programs of the mean length that its generator draws."""
    populations = []
    for population in evaluation.populations:
        length = lengths.get(population.key)
        rankers = []
        for ranker in population.rankers:
            if length is not None and ranker.key != "greedy":
                curve = tuple(replace(p, tokens=p.n * length) if p.tokens is None else p for p in ranker.curve)
                rankers.append(replace(ranker, curve=curve))
            else:
                rankers.append(ranker)
        populations.append(replace(population, rankers=tuple(rankers)))
    return replace(evaluation, populations=tuple(populations))


def _of_run(
    folder: Path, evaluation: Evaluation, document: Mapping[str, Any]
) -> tuple[Programs | None, dict[str, float], str]:
    tasks_file = folder / "tasks" / "evaluation.jsonl"
    found: list[Program] = []
    lengths: dict[str, float] = {}
    tasks: list[Task] = []
    absent = []
    sums = {entry["key"]: entry.get("sums", {}) for entry in document["populations"]}
    for population in evaluation.populations:
        records = folder / "evaluation" / population.key
        if not all(file.is_file() for file in (tasks_file, records / "samples.jsonl", records / "verdicts.jsonl")):
            absent.append(population.title)
            continue
        tasks = tasks or list(read_records(tasks_file, Task))
        scores_file = records / "scores.jsonl"
        scores = column_scores(scores_file) if scores_file.is_file() else {}
        scores |= weighted_sums(scores, sums[population.key])
        files = records / "samples.jsonl", records / "verdicts.jsonl"
        programs, length = read_programs(population.key, tasks, files, scores)
        found += programs
        if length is not None:
            lengths[population.key] = length
    if found:
        missing = f"The records of {', '.join(absent)} are not in the folder." if absent else ""
        return gather([shown_task(task) for task in tasks], found), lengths, missing
    examples = document.get("examples") or []
    if not examples:
        return None, lengths, "The records of the programs are not in the folder."
    missing = "The records of the programs are not in the folder: these are the examples that the figures came with."
    return of_examples(examples, str(folder / FILE)), lengths, missing


def _of_evaluation(folder: Path, document: Mapping[str, Any]) -> tuple[Programs | None, str]:
    inputs = document.get("inputs") or {}
    files = {name: _files(folder, name, inputs) for name in ("tasks", "samples", "verdicts", "rankings")}
    absent = [name for name in ("tasks", "samples", "verdicts") if not files[name]]
    if absent:
        return None, (
            f"No programs are shown: {', '.join(f'{name}.jsonl' for name in absent)} not found in {folder} or where "
            "the figures say that they were read."
        )
    tasks = list(read_records(files["tasks"][0], Task))
    scores: dict[str, dict[Key, float]] = {}
    for file in files["rankings"]:
        for name, values in ranking_scores(read_records(file, Ranking), str(file)).items():
            if name in scores:
                raise DataError(f"{file}: '{name}' is in two files of rankings; keep one of them")
            scores[name] = values
    programs, _ = read_programs(EVALUATED, tasks, (files["samples"][0], files["verdicts"][0]), scores)
    missing = "" if scores else "No rankings were found beside the programs: they have no scores."
    return gather([shown_task(task) for task in tasks], programs), missing


def _files(folder: Path, name: str, inputs: Mapping[str, Any]) -> list[Path]:
    """The records of one kind: in the folder, else where the inputs say."""
    here = [folder / f"{name}.jsonl", *sorted((folder / name).glob("*.jsonl"))]
    named = inputs.get(name) or ""
    paths = [str(path) for path in named] if isinstance(named, list) else re.split(r"[;,]\s*", str(named))
    there = [place / path for path in paths if path for place in (folder, Path())]
    for group in (here, there):
        found = list(dict.fromkeys(path.resolve() for path in group if path.is_file()))
        if found:
            return found
    return []
