"""What `rewardranker calibrate` fits on: programs drawn, judged and scored, each once, in a folder of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.cli import common, draws, ranker_sources
from rewardranker.errors import DataError

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.runs import RunDirectory
    from rewardranker.serving.calibration import Pool
    from rewardranker.types import Task


@dataclass(frozen=True)
class TaskSet:
    """Tasks, and the folder of their samples."""

    name: str
    limit: int | None
    fitted: bool
    """Whether the rule is fitted on them; else its figures are measured there."""

    @property
    def folder(self) -> str:
        return "fit" if self.fitted else f"measure-{re.sub(r'[^A-Za-z0-9.-]+', '_', self.name)}-{self.limit or 'all'}"


@dataclass(frozen=True)
class Sources:
    """Where samples, verdicts and scores come from."""

    model: str | None
    reward: str | None
    samples: Path | None
    verdicts: Path | None
    rankings: Path | None
    n: int

    def options(self) -> dict[str, object]:
        """What the output folder is checked against: it belongs to these models and files."""
        from rewardranker.reward.ranker import find_reward_model

        found: dict[str, object] = {"model": self.model and draws.fingerprint(Path(self.model)), "n": self.n}
        found["reward"] = self.reward and draws.fingerprint(find_reward_model(self.reward))
        paths = {"samples": self.samples, "verdicts": self.verdicts, "rankings": self.rankings}
        return found | {name: path and draws.fingerprint(path) for name, path in paths.items()}


def pool_of(
    run: RunDirectory, recipe: Recipe, sources: Sources, one: TaskSet, tasks: Sequence[Task], best_of: int
) -> Pool:
    """Samples drawn, judged and scored, or read, as arrays."""
    from rewardranker.evaluation import collect, read_rankings, score_vector, write_rankings
    from rewardranker.serving.calibration import make_pool

    given = draws.read([sources.samples], [sources.verdicts]) if one.fitted else None
    if given:
        known = {sample.task_id for sample in given[0]}
        tasks = [task for task in tasks if task.task_id in known]
        draws.copy(run, one.folder, given)
    else:
        _draw(run, recipe, sources, one, tasks)
    judged = draws.judged(run, recipe, tasks, one.folder, given)
    assert judged is not None, "there are samples"
    path = run.path / one.folder / "rankings.jsonl"
    candidates = common.group_samples(tasks, judged[0])

    def work() -> Mapping[str, Any]:
        if sources.rankings and one.fitted:
            rankings = [ranking for found in read_rankings(sources.rankings).values() for ranking in found]
        else:
            assert sources.reward is not None
            rankings = ranker_sources.reward(sources.reward, recipe).rank(candidates)
        write_rankings(path, rankings)
        return {"tasks": len(rankings)}

    run.stage(f"score {one.folder}", work)
    outcomes = collect(tasks, *judged, best_of)
    rankings = [ranking for found in read_rankings(path).values() for ranking in found]
    scores, _ = score_vector(outcomes, rankings)
    return make_pool(outcomes, scores)


def _draw(run: RunDirectory, recipe: Recipe, sources: Sources, one: TaskSet, tasks: Sequence[Task]) -> None:
    stage = f"sample {one.folder}"
    if run.stage_is_done(stage):
        return
    if sources.model is None:
        raise click.UsageError(f"--model is needed to draw programs for {one.name}")
    from rewardranker.generation import TransformersSampler, sample_to_file
    from rewardranker.models import load_causal_lm
    from rewardranker.progress import Progress

    loaded, tokenizer = load_causal_lm(sources.model, recipe.model.dtype, common.start(recipe))
    sampler = TransformersSampler(loaded, tokenizer, recipe.sampling, recipe.prompt, sources.model)
    output = run.path / one.folder / "samples.jsonl"
    run.stage(stage, partial(sample_to_file, sampler, tasks, sources.n, output, progress=Progress()))


def last_policy(run_dir: Path | None, recipe: Recipe) -> str:
    """The generator that the run ended with."""
    if run_dir is None:
        raise click.UsageError("give --model, --samples or --run: programs have to come from somewhere")
    for path in (run_dir / f"round-{recipe.loop.rounds}" / "ppo" / "policy", run_dir / "sft"):
        if (path / "config.json").exists():
            return str(path)
    raise DataError(f"{run_dir} has no trained generator yet: finish the run, or give --model")


def refuse_learned(name: str, recipe: Recipe) -> None:
    tasks = recipe.tasks
    for option, other in (("tasks.evaluation", tasks.evaluation), ("tasks.train", tasks.train)):
        if name == other and name != tasks.validation:
            raise DataError(
                f"--tasks {name} is the recipe's {option}: fit on tasks that are neither learned nor measured"
            )


def refuse_known(tasks: Iterable[Task], run_dir: Path | None) -> None:
    """Refuse tasks that the run's models have learned, or that its figures are about."""
    from rewardranker.runs import read_records
    from rewardranker.types import Task

    for split in ("train", "evaluation"):
        path = run_dir / "tasks" / f"{split}.jsonl" if run_dir else None
        known = {task.task_id for task in read_records(path, Task)} if path and path.is_file() else set()
        shared = [task.task_id for task in tasks if task.task_id in known]
        if shared:
            raise DataError(f"{len(shared)} tasks are in {path} (first: '{shared[0]}'): fit on validation tasks")


def refuse_shared(fitting: Iterable[Task], measuring: Iterable[Task] = ()) -> None:
    known = {task.task_id for task in fitting}
    shared = [task.task_id for task in measuring if task.task_id in known]
    if shared:
        raise DataError(f"{len(shared)} tasks of --measure-on are fitted on (first: '{shared[0]}'): give others")
