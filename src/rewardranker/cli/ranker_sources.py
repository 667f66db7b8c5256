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


class RankerMaker:
    """Makes the rankers of a set of samples; what several of them need is made, run and loaded once.

    Args:
        prefix: files of what programs did are named `PREFIX.NAME.jsonl`; the same command again goes on with them.
        verdicts: on the tasks' own tests, for `oracle`.
    """

    def __init__(
        self,
        recipe: Recipe,
        tasks: Sequence[Task],
        samples: Sequence[Sample],
        prefix: Path,
        evidence: Evidence,
        verdicts: Iterable[Verdict] | None = None,
    ) -> None:
        self._recipe, self._tasks, self._samples = recipe, tasks, samples
        self._prefix, self._evidence, self._verdicts = prefix, evidence, verdicts
        self._models = _Models(recipe)
        self._tests: list[GeneratedTests] | None = None
        self._found: dict[str, Any] = {}
        """What running programs showed, by the names of `ranking.Sources`."""

    def make(self, spec: str) -> Ranker:
        """The ranker, once all that it needs is there: programs are run, tests written, models loaded.

        Raises:
            ConfigError: there is no such ranker.
            DataError: something that it needs is missing.
            ModelError: a model can't be loaded.
            SandboxError: the judge fails.
        """
        from rewardranker.ranking import Sources, check_spec, make_ranker
        from rewardranker.ranking.specs import arguments

        self._run(check_spec(spec), spec.startswith("prune+"))
        models = self._models
        models.keep(arguments(spec, *WITH_MODEL))
        sources = Sources(reward=models.reward, likelihood=models.likelihood, verdicts=self._verdicts, **self._found)
        return make_ranker(spec, sources)

    def outputs(self) -> list[ProgramOutputs]:
        """What the programs return on the inputs that `evidence` names. Raises as `make`."""
        from rewardranker.ranking.protocol import OUTPUTS

        self._run(frozenset({OUTPUTS}))
        found: list[ProgramOutputs] = self._found["outputs"]
        return found

    def _run(self, needs: frozenset[str], prune: bool = False) -> None:
        """Run the programs for what is needed and not known yet."""
        from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, OUTPUTS

        known = {"outcomes": {GENERATED_TESTS, OUTCOMES}, "outputs": {OUTPUTS}}
        needs = needs.difference(*(names for name, names in known.items() if name in self._found))
        prune = prune and "first_tests" not in self._found
        if not (prune or needs & {GENERATED_TESTS, OUTCOMES, OUTPUTS}):
            return
        from rewardranker.executing import gather
        from rewardranker.execution.opening import open_judge
        from rewardranker.progress import Progress

        with open_judge(self._recipe.judge, self._recipe.launch.judge_workers) as judge:
            if needs & {GENERATED_TESTS, OUTCOMES} or (OUTPUTS in needs and self._evidence.inputs == "generated"):
                self._tests = self._tests or self._written_tests(judge)
            found = gather(
                *(needs, self._tasks, self._samples, self._prefix, judge),
                tests=self._tests,
                inputs=self._evidence.inputs,
                calls=self._evidence.calls,
                prune=prune,
                progress=Progress(),
            )
        shown = {"outcomes": found.outcomes, "outputs": found.outputs, "first_tests": found.first_tests}
        self._found |= {name: value for name, value in shown.items() if value is not None}

    def _written_tests(self, judge: Any) -> list[GeneratedTests] | None:
        """Read, or written by a model."""
        from rewardranker.ranking import GeneratedTests
        from rewardranker.runs import read_records

        recipe, writer = self._recipe, self._evidence.tests_model
        if self._evidence.tests is not None:
            return list(read_records(self._evidence.tests, GeneratedTests))
        if writer is None:
            return None
        from rewardranker.executing import write_tests_to_file
        from rewardranker.generation import TransformersSampler
        from rewardranker.models import load_causal_lm
        from rewardranker.progress import Progress

        model, tokenizer = load_causal_lm(writer, recipe.model.dtype, common.start(recipe))
        sampler = TransformersSampler(model, tokenizer, recipe.sampling, recipe.prompt, writer)
        path = self._prefix.with_name(f"{self._prefix.name}.generated-tests.jsonl")
        return write_tests_to_file(self._tasks, sampler, self._evidence.tests_texts, path, judge, Progress())


def reward(path: str, recipe: Recipe) -> Ranker:
    """The ranker of one reward model, named `reward`.

    Raises:
        ModelError: it can't be loaded.
    """
    from rewardranker.ranking import Reward

    return Reward(_Models(recipe).reward(path))


class _Models:
    """Loads each model once, however many parts of a ranker, or rankers after each other, use it."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._loaded: dict[tuple[str, str], Any] = {}

    def keep(self, names: Iterable[str]) -> None:
        """Let go of all other models: only those of one ranker have to fit in memory together."""
        kept = set(names)
        self._loaded = {key: model for key, model in self._loaded.items() if key[1] in kept}

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
