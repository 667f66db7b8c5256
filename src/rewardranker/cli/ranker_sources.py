"""What rankers of the command line are made from: models, and what their programs did, each got once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from rewardranker.cli import common, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.ranking import GeneratedTests, LikelihoodScorer, ProgramOutputs, Ranker
    from rewardranker.types import Sample, Scorer, Task, Verdict

F = TypeVar("F", bound=Callable[..., Any])

WITH_MODEL = ("reward", "lever", "outcome-reward", "likelihood", "mean-likelihood", "reviewer", "coder-reviewer")
"""Rankers that load a model, which their argument names."""


@dataclass(frozen=True)
class Evidence:
    """Where rankers by execution get their tests and inputs."""

    tests: Path | None = None
    """Generated tests, as JSON Lines of `GeneratedTests`."""
    tests_model: str | None = None
    """Writes them where there is no file."""
    tests_texts: int = 20
    """Texts that it writes a task."""
    inputs: Literal["generated", "tests"] = "generated"
    calls: int = 50


def evidence_options(function: F) -> F:
    """`--generated-tests`, `--tests-model`, `--tests-texts`, `--inputs` and `--calls`, as parameters of these names."""
    options = (
        click.option("--generated-tests", type=common.PathOption, help="JSON Lines: task_id, tests, counts."),
        click.option("--tests-model", help="Have this model write tests, for codet, b4, srank, ..."),
        click.option("--tests-texts", type=click.IntRange(min=1), default=20, help="So many texts a task. [20]"),
        click.option(
            "--inputs",
            type=click.Choice(["generated", "tests"]),
            default="generated",
            help="Inputs for majority, mbr, ...: of the generated tests, or of the tasks' own. [generated]",
        ),
        click.option("--calls", type=click.IntRange(min=1), default=50, help="At most so many inputs a task. [50]"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def check(spec: str, evidence: Evidence) -> Iterator[str]:
    """Where the models that a ranker names would come from.

    Raises:
        ConfigError: there is no such ranker.
        ModelError: there is no such model.
        DataError: the file of generated tests is missing.
    """
    from rewardranker.ranking.specs import arguments, check_spec

    check_spec(spec)
    for model in arguments(spec, *WITH_MODEL):
        yield from plan.models({f"--ranker {spec}": model})
    common.require_files(evidence.tests)
    yield from plan.models({"--tests-model": evidence.tests_model})


def make(
    spec: str,
    recipe: Recipe,
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    prefix: Path,
    evidence: Evidence,
    verdicts: Iterable[Verdict] | None = None,
) -> Ranker:
    """The ranker, once all that it needs is there: programs are run, tests written, models loaded.

    Args:
        prefix: files of what programs did are named `PREFIX.NAME.jsonl`; a second call goes on with them.
        verdicts: on the tasks' own tests, for `oracle`.

    Raises:
        ConfigError: there is no such ranker.
        DataError: something that it needs is missing.
        ModelError: a model can't be loaded.
        SandboxError: the judge fails.
    """
    from rewardranker.ranking import Sources, check_spec, make_ranker

    found = _run(check_spec(spec), spec.startswith("prune+"), recipe, tasks, samples, prefix, evidence)
    models = _Models(recipe)
    return make_ranker(spec, Sources(reward=models.reward, likelihood=models.likelihood, verdicts=verdicts, **found))


def outputs(
    recipe: Recipe, tasks: Sequence[Task], samples: Sequence[Sample], prefix: Path, evidence: Evidence
) -> list[ProgramOutputs]:
    """What programs return on the inputs that `evidence` names.

    Raises:
        DataError: there are no generated tests to take inputs from.
        ModelError, SandboxError: as `make`.
    """
    from rewardranker.ranking.protocol import OUTPUTS

    found: list[ProgramOutputs] = _run(frozenset({OUTPUTS}), False, recipe, tasks, samples, prefix, evidence)["outputs"]
    return found


def reward(path: str, recipe: Recipe) -> Ranker:
    """The ranker of one reward model, named `reward`.

    Raises:
        ModelError: it can't be loaded.
    """
    from rewardranker.ranking import Reward

    return Reward(_Models(recipe).reward(path))


def _run(
    needs: frozenset[str],
    prune: bool,
    recipe: Recipe,
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    prefix: Path,
    evidence: Evidence,
) -> dict[str, Any]:
    from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, OUTPUTS

    if not (prune or needs & {GENERATED_TESTS, OUTCOMES, OUTPUTS}):
        return {}
    from rewardranker.executing import gather
    from rewardranker.execution.opening import open_judge
    from rewardranker.progress import Progress

    with open_judge(recipe.judge, recipe.launch.judge_workers) as judge:
        wanted = needs & {GENERATED_TESTS, OUTCOMES} or (OUTPUTS in needs and evidence.inputs == "generated")
        tests = _tests(recipe, tasks, prefix, evidence, judge) if wanted else None
        found = gather(
            *(needs, tasks, samples, prefix, judge),
            tests=tests,
            inputs=evidence.inputs,
            calls=evidence.calls,
            prune=prune,
            progress=Progress(),
        )
    return {"outcomes": found.outcomes, "outputs": found.outputs, "first_tests": found.first_tests}


def _tests(
    recipe: Recipe, tasks: Sequence[Task], prefix: Path, evidence: Evidence, judge: Any
) -> list[GeneratedTests] | None:
    """Read, or written by a model."""
    from rewardranker.ranking import GeneratedTests
    from rewardranker.runs import read_records

    if evidence.tests is not None:
        return list(read_records(evidence.tests, GeneratedTests))
    if evidence.tests_model is None:
        return None
    from rewardranker.executing import write_tests_to_file
    from rewardranker.generation import TransformersSampler
    from rewardranker.models import load_causal_lm
    from rewardranker.progress import Progress

    model, tokenizer = load_causal_lm(evidence.tests_model, recipe.model.dtype, common.start(recipe))
    sampler = TransformersSampler(model, tokenizer, recipe.sampling, recipe.prompt, evidence.tests_model)
    path = prefix.with_name(f"{prefix.name}.generated-tests.jsonl")
    return write_tests_to_file(tasks, sampler, evidence.tests_texts, path, judge, Progress())


class _Models:
    """Loads each model once, however many parts of a ranker use it."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loaded: dict[tuple[str, str], Any] = {}

    def reward(self, name: str) -> Scorer:
        from rewardranker.reward import RewardRanker

        return self._once("reward", name, lambda: RewardRanker.from_pretrained(name, common.start(self._recipe)))

    def likelihood(self, name: str) -> LikelihoodScorer:
        from rewardranker.generation.likelihood import CausalLikelihood
        from rewardranker.models import load_causal_lm

        def load() -> CausalLikelihood:
            return CausalLikelihood(*load_causal_lm(name, self._recipe.model.dtype, common.start(self._recipe)))

        return self._once("likelihood", name, load)

    def _once(self, kind: str, name: str, load: Callable[[], Any]) -> Any:
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = load()
        return self._loaded[kind, name]
