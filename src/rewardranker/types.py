"""The records that travel between the stages, and the protocols by which stages meet.

A record is a frozen dataclass; on disk it is one JSON object a line (see `runs.py`). Column types are the same in
every row, so `datasets.load_dataset("json", data_files=...)` reads the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Candidate",
    "Comparison",
    "Judge",
    "PreferenceGroup",
    "Ranking",
    "RewardFunction",
    "Sample",
    "Sampler",
    "Scorer",
    "StdioTest",
    "Task",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class StdioTest:
    """One input with its expected output.

    Of a whole program: what it reads on standard input and must print. Of a function (the task has an `entry_point`):
    its arguments as JSON values, one a line, and the expected result as one JSON value.
    """

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How outputs are compared with `Task.inputs`: what data sets define for all their tasks.

    Whether a list or a tuple holds the items, and spaces inside and at the ends of printed lines, never matter.
    CodeContests: `tolerance=1e-5, ignore_case=True, ignore_lines=True`. APPS and TACO: `tolerance=1e-5, unordered=True,
    unwrap=True` (their own runs also forgive repeated lines and the order of words, this does not). LiveCodeBench:
    `numeric=True`. EvalPlus: `tolerance=1e-6`, and `unordered=True` for the tasks of MBPP+ that it compares as sets.
    """

    tolerance: float = 0.0
    """Numbers may differ by this, absolutely or relative to the expected one; two integers must be equal."""
    numeric: bool = False
    """Printed words that are numbers are compared by value: `1.0` is `1`. A `tolerance` implies it."""
    unordered: bool = False
    """Printed lines, or the items of a returned sequence or set, may come in any order."""
    ignore_case: bool = False
    ignore_lines: bool = False
    """A line break in printed text counts as a space."""
    unwrap: bool = False
    """A returned value may also equal the only item of an expected list."""


@dataclass(frozen=True, slots=True)
class Task:
    """A programming problem with the tests that decide it.

    `tests` is either source code that decides the whole program (HumanEval's `def check(candidate)`, unittest classes,
    MultiPL-E's test text) or a list of `assert` statements counted one by one (MBPP). `inputs` is used instead by
    whole-program tasks, and by function tasks whose tests are calls with their results.
    """

    task_id: str
    prompt: str
    language: str = "python"
    entry_point: str | None = None
    tests: str | tuple[str, ...] = ()
    inputs: tuple[StdioTest, ...] = ()
    comparison: Comparison = Comparison()
    setup: str = ""
    """Code that the tests need before the program (imports, helper classes); it is not shown to the generator."""
    reference: str | None = None
    """A correct completion: `prompt + reference` solves the task."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion of this task, beside those of the sampling options."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free text fields: source, split, difficulty, composition, ..."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One program drawn for a task.

    `text` is what the model wrote; `completion` is the code in it, which rankers and reward models read after the
    task's prompt; `program` is the complete source that the judge runs.
    """

    task_id: str
    sample_id: int
    text: str
    completion: str
    program: str
    token_ids: tuple[int, ...] = ()
    token_logprobs: tuple[float, ...] = ()
    """Natural log-probability of each token of `token_ids` under the model at temperature 1 and without top-p."""
    finish_reason: str = "stop"
    """`stop` (end token or stop text), or `length` (cut by `max_new_tokens`)."""
    model: str = ""
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    round: int = 0

    @property
    def tokens(self) -> int:
        """Tokens written; servers may give log-probabilities without ids, or neither (0)."""
        return len(self.token_ids) or len(self.token_logprobs)

    @property
    def logprob(self) -> float:
        """Sum of the token log-probabilities."""
        return float(sum(self.token_logprobs))

    @property
    def mean_logprob(self) -> float:
        """Mean of the token log-probabilities; minus infinity for a sample without tokens."""
        return self.logprob / len(self.token_logprobs) if self.token_logprobs else float("-inf")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What running a sample's program against its task's tests showed.

    `status` is one of `execution.STATUSES`: `passed`, or the program's own fault. A fault of the judge is never a
    verdict; it is raised as `SandboxError`.
    """

    task_id: str
    sample_id: int
    passed: bool
    status: str
    detail: str = ""
    """The failing assertion or the end of the error output, bounded."""
    tests_passed: int = 0
    tests_total: int = 0
    outcomes: str = ""
    """One character a test, in order: `1` it holds, `0` it does not, `-` it was not run; empty where tests are not
    counted one by one."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    cached: bool = False
    isolation: str = ""
    toolchain: str = ""
    """Name and version of what compiled or ran the program."""

    @property
    def fraction(self) -> float:
        """Share of the tests passed, in [0, 1]."""
        return self.tests_passed / self.tests_total if self.tests_total else float(self.passed)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A judged completion inside a preference group, with where it came from."""

    completion: str
    passed: bool
    fraction: float
    """Share of the tests passed."""
    status: str = ""
    sample_id: int = -1
    origin: str = "sample"
    """Why it is here: `sample`, `reference`, `positive`, `hard_negative`, `random_negative`, or another tool's word."""
    model: str = ""
    round: int = 0
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    mined_score: float | None = None
    """The reward model's score when this candidate was mined."""


@dataclass(frozen=True, slots=True)
class PreferenceGroup:
    """All candidates of one task: every (passed, not passed) pair in it is a preference."""

    task_id: str
    prompt: str
    candidates: tuple[Candidate, ...]

    @property
    def correct(self) -> tuple[Candidate, ...]:
        return tuple(c for c in self.candidates if c.passed)

    @property
    def wrong(self) -> tuple[Candidate, ...]:
        return tuple(c for c in self.candidates if not c.passed)

    @property
    def pairs(self) -> int:
        """Number of (correct, wrong) pairs."""
        return len(self.correct) * len(self.wrong)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores that one ranker gave to all samples of a task; the highest is its answer, equal scores share it."""

    task_id: str
    ranker: str
    sample_ids: tuple[int, ...]
    scores: tuple[float, ...]


class Sampler(Protocol):
    """Draws programs: Task -> Samples."""

    def sample(self, tasks: Sequence[Task], n: int, *, round: int = 0) -> Iterator[list[Sample]]:
        """Yield the `n` samples of each task, task after task, in order."""
        ...


class Judge(Protocol):
    """Runs programs: (Task, Sample) -> Verdict."""

    @property
    def isolation(self) -> str:
        """What programs are kept apart by, in words."""
        ...

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        """Yield one verdict for each item, in order."""
        ...

    def close(self) -> None: ...


class Scorer(Protocol):
    """Scores programs: (prompt, completion) pairs -> float32 scores, higher is better."""

    def predict(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]: ...


@runtime_checkable
class RewardFunction(Protocol):
    """What PPO maximises: one float32 reward for each (task, sample), given at the program's end."""

    def __call__(self, tasks: Sequence[Task], samples: Sequence[Sample]) -> NDArray[np.float32]: ...


class ProgressReporter(Protocol):
    """Where a long step says how far it is."""

    def start(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None: ...

    def update(self, done: int, **figures: float | int | str) -> None: ...

    def finish(self, **figures: float | int | str) -> None: ...


Json = dict[str, Any]
