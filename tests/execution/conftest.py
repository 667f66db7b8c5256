from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge, bubblewrap, sandbox
from rewardranker.types import Comparison, Sample, StdioTest, Task, Verdict

OPTIONS = JudgeOptions(timeout=0.5, memory_mb=256, output_kb=256)


def sample_of(program: str, task_id: str = "t", sample_id: int = 0) -> Sample:
    return Sample(task_id, sample_id, "", "", program)


@pytest.fixture(scope="session")
def pool() -> Iterator[ProgramJudge]:
    with ProgramJudge(OPTIONS, workers=1) as judge:
        yield judge


def interpret(text: str) -> str:
    """What a text prints that the judge's own interpreter executes beside the package `sandbox`."""
    path = f"import sys\nsys.path.insert(0, {str(Path(sandbox.__file__).parents[1])!r})\n"
    done = subprocess.run([bubblewrap.interpreter(), "-S", "-c", path + text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


Run = Callable[..., Verdict]


@pytest.fixture
def run(pool: ProgramJudge) -> Run:
    """run(program, *asserts) or run(program, source=...) or run(program, inputs=((in, out), ...)) or run(program,
    calls=((arguments, result), ...)), the last two with the fields of `Comparison` -> its verdict."""

    def run_(
        program: str,
        *asserts: str,
        source: str | None = None,
        entry_point: str | None = "f",
        inputs: tuple[tuple[str, str], ...] = (),
        setup: str = "",
        prompt: str = "",
        calls: tuple[tuple[str, str], ...] = (),
        **comparison: float,
    ) -> Verdict:
        tests = source if source is not None else asserts
        task = Task("t", prompt, entry_point=entry_point, tests=tests, setup=setup)
        if inputs or calls:
            cases = tuple(StdioTest(*pair) for pair in inputs or calls)
            name = entry_point if calls else None
            task = Task("t", prompt, entry_point=name, inputs=cases, setup=setup, comparison=Comparison(**comparison))
        (verdict,) = pool.judge([(task, sample_of(program))])
        return verdict

    return run_
