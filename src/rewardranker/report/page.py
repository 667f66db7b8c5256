"""One self-contained HTML page of a run: no script, no network, light and dark, readable on a phone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardranker.report import plots, words
from rewardranker.report.ablations import ablation_rows
from rewardranker.report.figures import (
    Difference,
    Evaluation,
    Example,
    Population,
    PPORun,
    Ranker,
    Stage,
    ppo_runs,
    read_figures,
    read_json,
)
from rewardranker.runs import write_text

EXAMPLES = 60
"""Programs shown; more would make the page slow to open."""


def write_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the page of a measured run.

    Args:
        run_dir: holds `evaluation.json`; PPO metrics, `ablations.json`, `manifest.json` and `recipe.yaml` are shown
            where they are.
        output: the page; None: `report.html` in the run directory.

    Returns:
        The page's path.

    Raises:
        DataError: the run is not measured, or one of its files is broken.
        RunDirectoryError: the page can't be written.
    """
    run_dir = Path(run_dir)
    output = Path(output) if output is not None else run_dir / "report.html"
    write_text(output, render(run_dir))
    return output


def render(run_dir: Path) -> str:
    """The page's HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "percent": words.percent,
        "points": words.points,
        "p_value": words.p_value,
        "duration": words.duration,
    }
    evaluation = read_figures(run_dir)
    manifest = read_json(run_dir / "manifest.json") or {}
    trainings = list(ppo_runs(run_dir))
    curve_legend, curves = plots.best_of_n(evaluation)
    ppo_legend, ppo_plots = plots.ppo(trainings)
    ablations = read_json(run_dir / "ablations.json")
    recipe = run_dir / "recipe.yaml"
    return environment.get_template("page.html").render(
        evaluation=evaluation,
        settings=words.settings_in_words(evaluation),
        summary=words.summary(evaluation),
        significant=[d for d in evaluation.differences if d.significant],
        insignificant=[d for d in evaluation.differences if not d.significant],
        best={population.key: best_key(population) for population in evaluation.populations},
        curve_legend=curve_legend,
        curves=curves,
        generators=[generator_row(population, evaluation, trainings) for population in evaluation.populations],
        hard_rankers=hard_rankers(evaluation),
        seeds=ablations["seeds"] if ablations else 0,
        ablations=list(ablation_rows(ablations)) if ablations else [],
        ppo_legend=ppo_legend,
        ppo_plots=ppo_plots,
        difference_range=difference_range(evaluation.differences),
        stages=stages(evaluation, manifest),
        examples=examples(evaluation),
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        versions=manifest.get("versions", {}),
        started=manifest.get("started", ""),
    )


def best_key(population: Population) -> str:
    """The ranker that solves most among those that choose one of the samples; empty without any."""
    choosing = [ranker for ranker in population.rankers if ranker.key not in words.UNRANKED]
    return max(choosing, key=lambda ranker: ranker.mean).key if choosing else ""


@dataclass(frozen=True, slots=True)
class GeneratorRow:
    """How one generator did: the row of a round."""

    population: Population
    mean: Ranker | None
    system: Ranker | None
    """The ranker that the whole system was declared with."""
    best: Ranker | None
    """The ranker that did best here, picked after the fact."""
    oracle: Ranker | None
    kl: float | None
    """KL to the SFT generator at the step whose weights became the policy."""


def generator_row(population: Population, evaluation: Evaluation, trainings: list[PPORun]) -> GeneratorRow:
    """`policy-K` was trained in folder `round-K`."""
    title = population.key.replace("policy-", "round ")
    training = next((training for training in trainings if training.title == title), None)
    return GeneratorRow(
        population,
        population.ranker("mean"),
        population.ranker(evaluation.system[1].key) if evaluation.system else None,
        population.ranker(best_key(population)),
        population.ranker("oracle"),
        kept_kl(training) if training else None,
    )


def kept_kl(training: PPORun) -> float | None:
    """The KL at the first measurement with the best validation pass rate: PPO keeps that step's weights."""
    measured = [row for row in training.rows if "validation/pass_rate" in row]
    return max(measured, key=lambda row: row["validation/pass_rate"]).get("objective/kl") if measured else None


def hard_rankers(evaluation: Evaluation) -> dict[str, str]:
    """Key and title of the rankers with pairwise accuracies."""
    titles = evaluation.ranker_titles()
    keys = [pairwise.ranker for population in evaluation.populations for pairwise in population.pairwise]
    return {key: titles.get(key, key) for key in dict.fromkeys(keys)}


def difference_range(differences: tuple[Difference, ...]) -> float:
    """Half-width of the axis on which all differences are drawn."""
    return max((abs(bound) for d in differences for bound in (d.low, d.high)), default=0.0) * 1.05 or 0.01


def stages(evaluation: Evaluation, manifest: dict[str, Any]) -> list[Stage]:
    """The stages that the figures name, else those of the manifest."""
    if evaluation.stages:
        return list(evaluation.stages)
    done = manifest.get("stages", {}).items()
    return [Stage(name, float(entry["seconds"])) for name, entry in done if "seconds" in entry]


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example with its scores as numbers, and the one it is sorted by."""

    example: Example
    population: str
    scores: dict[str, float]
    score: float | None


def examples(evaluation: Evaluation, limit: int = EXAMPLES) -> list[ShownExample]:
    """The examples: wrong programs first, the highest-scored by the last reranker on top; then the correct ones."""
    titles = evaluation.ranker_titles()
    populations = {population.key: population.title for population in evaluation.populations}
    key = max((key for e in evaluation.examples for key in e.scores if key.startswith("reward-")), default=None)
    shown = []
    for example in evaluation.examples:
        scores = {name: json.loads(text) for name, text in example.scores.items()}
        named = {titles.get(name, name): value for name, value in scores.items() if isinstance(value, int | float)}
        score = scores.get(key) if key else None
        shown.append(ShownExample(example, populations.get(example.population, example.population), named, score))
    shown.sort(key=lambda s: (s.example.passed, -s.score if s.score is not None else float("inf")))
    return shown[:limit]
