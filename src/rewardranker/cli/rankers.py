"""Rankers by spec for `rewardranker eval`: checked first, what they need gathered, run once each, kept in the folder."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardranker.cli import common, draws, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.evaluation import Ranked
    from rewardranker.ranking import Sources
    from rewardranker.runs import RunDirectory
    from rewardranker.types import Task

MODELS = {
    "reward models": ("reward", "lever", "outcome-reward"),
    "language models": ("likelihood", "mean-likelihood", "reviewer", "coder-reviewer"),
}
"""Rankers that load a model."""


@dataclass(frozen=True)
class Wanted:
    """A ranker that the user names: `[TITLE=]SPEC`."""

    title: str
    """Its name in the figures; empty: the ranker's own."""
    spec: str

    @property
    def models(self) -> list[str]:
        from rewardranker.ranking.specs import arguments

        return [model for names in MODELS.values() for model in arguments(self.spec, *names)]

    @property
    def file(self) -> str:
        """A file name that no other spec has."""
        text = f"{self.title}={self.spec}" if self.title else self.spec
        plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", text)
        return plain if plain == text else f"{plain}-{zlib.crc32(text.encode()):08x}"


def parse(specs: Sequence[str]) -> list[Wanted]:
    """
    Raises:
        ConfigError: a spec is wrong.
    """
    from rewardranker.ranking import check_spec

    found = [Wanted(title.strip(), spec.strip()) for title, _, spec in (text.rpartition("=") for text in specs)]
    for wanted in found:
        check_spec(wanted.spec)
    return found


def where_models_are(wanted: Sequence[Wanted]) -> list[str]:
    """As `plan.models`, of all rankers' models."""
    return list(plan.models({f"--rankers {one.spec}": model for one in wanted for model in one.models}))


def run_all(
    run: RunDirectory,
    recipe: Recipe,
    tasks: Sequence[Task],
    records: draws.Records,
    wanted: Sequence[Wanted],
    generated_tests: Path | None,
    inputs: str,
) -> list[Ranked]:
    """The rankings of all rankers, made or read where an earlier call made them.

    Args:
        generated_tests: JSON Lines of `ranking.GeneratedTests`.
        inputs: on which outputs are compared, see `executing.gather`.
    """
    evidence = f"{inputs} {draws.fingerprint(generated_tests) if generated_tests else ''}"
    stages = {
        one: " ".join(
            [f"rank {one.file}", *(draws.fingerprint(Path(m)) for m in one.models), *([evidence] * _executes(one))]
        )
        for one in wanted
    }
    pending = [one for one in wanted if not run.stage_is_done(stages[one])]
    sources = _sources(
        run, recipe, tasks, records, pending, generated_tests, inputs, f"{zlib.crc32(evidence.encode()):08x}"
    )
    return [_run(run, tasks, records, one, stages[one], sources) for one in wanted]


def _run(
    run: RunDirectory, tasks: Sequence[Task], records: draws.Records, wanted: Wanted, stage: str, sources: Sources
) -> Ranked:
    from rewardranker.evaluation import Ranked, read_rankings, run_ranker, write_rankings
    from rewardranker.ranking import make_ranker

    path = run.path / "rankings" / f"{wanted.file}.jsonl"

    def work() -> dict[str, Any]:
        ranked = run_ranker(make_ranker(wanted.spec, sources), common.group_samples(tasks, records[0]))
        write_rankings(path, [replace(ranking, ranker=wanted.title or ranked.name) for ranking in ranked.rankings])
        return {field: getattr(ranked, field) for field in ("seconds", "programs", "execution_seconds")}

    cost = run.stage(stage, work)
    ((name, rankings),) = read_rankings(path).items()
    return Ranked(name, rankings, **cost)


def _executes(wanted: Wanted) -> bool:
    """Whether programs are run for this ranker."""
    from rewardranker.ranking import check_spec
    from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, OUTPUTS

    return bool(check_spec(wanted.spec) & {GENERATED_TESTS, OUTCOMES, OUTPUTS}) or _prunes(wanted)


def _prunes(wanted: Wanted) -> bool:
    return wanted.spec.startswith("prune")


def _sources(
    run: RunDirectory,
    recipe: Recipe,
    tasks: Sequence[Task],
    records: draws.Records,
    wanted: Sequence[Wanted],
    generated_tests: Path | None,
    inputs: str,
    tag: str,
) -> Sources:
    """What the rankers are made from; programs are run where one of them asks for it."""
    from rewardranker.evaluation import read_all
    from rewardranker.executing import gather
    from rewardranker.execution.opening import open_judge
    from rewardranker.progress import Progress
    from rewardranker.ranking import GeneratedTests, Sources, check_spec

    def reward(model: str) -> Any:
        from rewardranker.reward import RewardRanker

        return RewardRanker.from_pretrained(model, common.start(recipe))

    def likelihood(model: str) -> Any:
        from rewardranker.generation.likelihood import CausalLikelihood
        from rewardranker.models import load_causal_lm

        return CausalLikelihood(*load_causal_lm(model, recipe.model.dtype, common.start(recipe)))

    evidence: dict[str, Any] = {}
    if any(_executes(one) for one in wanted):
        needs = frozenset[str]().union(*(check_spec(one.spec) for one in wanted))
        with_samples = {sample.task_id for sample in records[0]}
        with open_judge(recipe.judge, recipe.launch.judge_workers) as judge:
            found = gather(
                needs,
                [task for task in tasks if task.task_id in with_samples],
                records[0],
                run.path / "evidence" / tag,
                judge,
                tests=read_all(generated_tests, GeneratedTests) if generated_tests else None,
                inputs="tests" if inputs == "tests" else "generated",
                prune=any(_prunes(one) for one in wanted),
                progress=Progress(),
            )
        evidence = {"outcomes": found.outcomes, "outputs": found.outputs, "first_tests": found.first_tests}
    return Sources(reward=reward, likelihood=likelihood, verdicts=records[1], **evidence)
