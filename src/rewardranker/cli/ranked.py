"""Rankings in the folder of an evaluation: each ranker is run once, its scores and costs are kept."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardranker.cli import common, draws, ranker_sources

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.evaluation import Ranked
    from rewardranker.runs import RunDirectory
    from rewardranker.types import Sample, Task


@dataclass(frozen=True)
class Wanted:
    """A ranker that the user names: `[TITLE=]SPEC`."""

    title: str
    """Its name in the figures; empty: the ranker's own."""
    spec: str

    @property
    def file(self) -> str:
        """A file name that no other ranker of the folder has."""
        text = f"{self.title}={self.spec}" if self.title else self.spec
        plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", text)
        return plain if plain == text else f"{plain}-{zlib.crc32(text.encode()):08x}"


def parse(specs: Sequence[str]) -> list[Wanted]:
    """The rankers of `[TITLE=]SPEC` texts; whether there are such is for `ranker_sources.check` to say."""
    return [Wanted(title.strip(), spec.strip()) for title, _, spec in (text.rpartition("=") for text in specs)]


def run_all(
    run: RunDirectory,
    recipe: Recipe,
    tasks: Sequence[Task],
    records: draws.Records,
    wanted: Sequence[Wanted],
    evidence: ranker_sources.Evidence,
) -> list[Ranked]:
    """The rankings of all rankers, made now, or read where an earlier call made them from the same files."""
    samples, verdicts = records
    candidates = common.group_samples(tasks, samples)
    with_samples = [task for task, _ in candidates]
    prefix = run.path / "evidence" / _evidence_state(evidence)
    maker = ranker_sources.RankerMaker(recipe, with_samples, samples, prefix, evidence, verdicts)
    return [_run(run, candidates, one, maker, _state(one, evidence)) for one in wanted]


def _run(
    run: RunDirectory,
    candidates: Sequence[tuple[Task, Sequence[Sample]]],
    wanted: Wanted,
    maker: ranker_sources.RankerMaker,
    state: str,
) -> Ranked:
    from rewardranker.evaluation import Ranked, read_rankings, run_ranker, write_rankings

    path = run.path / "ranked" / f"{wanted.file}.jsonl"

    def work() -> dict[str, Any]:
        ranked = run_ranker(maker.make(wanted.spec), candidates)
        write_rankings(path, [replace(ranking, ranker=wanted.title or ranked.name) for ranking in ranked.rankings])
        return {field: getattr(ranked, field) for field in ("seconds", "programs", "execution_seconds")}

    cost = run.stage(f"rank {wanted.file} {state}".strip(), work)
    ((name, rankings),) = read_rankings(path).items()
    return Ranked(name, rankings, **cost)


def _state(wanted: Wanted, evidence: ranker_sources.Evidence) -> str:
    """What a ranker's scores come from beside the samples: they are made again when it has changed."""
    from rewardranker.ranking import check_spec
    from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, OUTPUTS
    from rewardranker.ranking.specs import arguments

    parts = [draws.fingerprint(Path(model)) for model in arguments(wanted.spec, *ranker_sources.WITH_MODEL)]
    if check_spec(wanted.spec) & {GENERATED_TESTS, OUTCOMES, OUTPUTS}:
        parts.append(f"evidence {_evidence_state(evidence)}")
    return ", ".join(parts)


def _evidence_state(evidence: ranker_sources.Evidence) -> str:
    """A name for the tests and inputs with which programs are run."""
    tests = draws.fingerprint(evidence.tests) if evidence.tests else ""
    return f"{zlib.crc32(repr((asdict(evidence), tests)).encode()):08x}"
