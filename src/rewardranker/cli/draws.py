"""Samples with their verdicts in the folder of an evaluation: drawn or copied, judged where they are not, each once.

The folder holds copies, so that it can be moved, shown and measured again on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardranker.cli import common

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.runs import RunDirectory
    from rewardranker.types import Sample, Task, Verdict

Records = tuple["list[Sample]", "list[Verdict]"]
"""Samples, and their verdicts; no verdicts where they are still to be judged."""


def read(samples: Sequence[Path | None], verdicts: Sequence[Path | None]) -> Records | None:
    """The records of files that the user names; None without samples.

    Raises:
        DataError: a file can't be read, with file and line.
    """
    from rewardranker.evaluation import read_all
    from rewardranker.types import Sample, Verdict

    drawn = [record for path in samples if path for record in read_all(path, Sample)]
    judged = [record for path in verdicts if path for record in read_all(path, Verdict)]
    return (drawn, judged) if drawn else None


def sample(run: RunDirectory, recipe: Recipe, tasks: Sequence[Task], model: str) -> None:
    """Draw `sampling.n` programs of each task into the run's folder, and the greedy one into `greedy`."""
    if run.stage_is_done("sample") and run.stage_is_done("sample greedy"):
        return
    from rewardranker.generation import TransformersSampler, sample_to_file
    from rewardranker.models import load_causal_lm
    from rewardranker.progress import Progress

    loaded, tokenizer = load_causal_lm(model, recipe.model.dtype, common.start(recipe))
    greedy = recipe.sampling.model_copy(update={"n": 1, "temperature": 0.0})
    for stage, folder, options in (("sample", ".", recipe.sampling), ("sample greedy", "greedy", greedy)):
        sampler = TransformersSampler(loaded, tokenizer, options, recipe.prompt, model)
        output = run.path / folder / "samples.jsonl"
        run.stage(stage, partial(sample_to_file, sampler, tasks, options.n, output, progress=Progress()))


def copy(run: RunDirectory, folder: str, records: Records | None) -> None:
    """Write the samples, and the verdicts where there are some, beside the figures."""
    from rewardranker.runs import write_records

    columns: list[tuple[str, Sequence[Any]]] = list(zip(("samples", "verdicts"), records or (), strict=False))
    for name, column in columns:
        if column:
            output = run.path / folder / f"{name}.jsonl"
            run.stage(f"copy {folder} {name}", partial(_written, write_records, output, column))


def judged(
    run: RunDirectory, recipe: Recipe, tasks: Sequence[Task], folder: str, given: Records | None
) -> Records | None:
    """The samples given, or drawn into a folder, with their verdicts, given or judged; None without samples."""
    from rewardranker.execution.opening import open_judge
    from rewardranker.execution.records import judge_to_file
    from rewardranker.progress import Progress
    from rewardranker.runs import read_records
    from rewardranker.types import Sample, Verdict

    if given and given[1]:
        return given
    samples, verdicts = run.path / folder / "samples.jsonl", run.path / folder / "verdicts.jsonl"
    if not samples.exists():
        return None

    def work() -> dict[str, Any]:
        with open_judge(recipe.judge, recipe.launch.judge_workers) as judge:
            return judge_to_file(tasks, samples, verdicts, judge, progress=Progress())

    run.stage(f"judge {folder}", work)
    return given[0] if given else list(read_records(samples, Sample)), list(read_records(verdicts, Verdict))


def _written(write: Any, output: Path, records: Sequence[object]) -> dict[str, int]:
    return {"records": write(output, records)}


def fingerprints(paths: Iterable[Path]) -> str:
    """Paths, each with what changes when the file, or a file of the folder, is replaced."""
    return ", ".join(map(fingerprint, paths))


def fingerprint(path: Path) -> str:
    """One path, see `fingerprints`; the path alone where there is no such file."""
    from rewardranker.serving.adaptive import FILE

    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path] * path.is_file()
    files = [file for file in files if file.name != FILE]  # made later, beside a reward model; its scores stay the same
    if not files:
        return str(path)
    stats = [file.stat() for file in files]
    changed = max(stat.st_mtime_ns for stat in stats) // 1_000_000
    return f"{path} ({sum(stat.st_size for stat in stats)} bytes, {changed})"
