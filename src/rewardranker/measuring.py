"""What a finished loop is worth: every ranker on the same samples of every generator, with intervals.

Populations are the samples of the SFT generator and of each round's policy, on evaluation tasks; each is ranked by
chance (the mean), by likelihood, by each round's reranker, by reranker + log-probability, and by the oracle, beside
greedy decoding. The weight of the log-probability is fitted on validation tasks, never on evaluation tasks.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewardranker import processes
from rewardranker.config import EvaluationOptions
from rewardranker.evaluation import (
    best_of_curve,
    bootstrap_interval,
    calibrate_table,
    distinct_per_n,
    paired_difference,
    pairwise_accuracy,
    powers,
)
from rewardranker.policy import LogProbability
from rewardranker.preference import canonical_program
from rewardranker.ranking import fit_weight
from rewardranker.report import terminal_table, write_report
from rewardranker.runs import write_json, write_records
from rewardranker.types import Sample, Task, Verdict

if TYPE_CHECKING:
    from rewardranker.selftraining import Loop

Floats = NDArray[np.float64]
SEEDS = {"validation": 1, "evaluation": 2}
"""Added to `sampling.seed`, so that no stream is used twice."""
EXAMPLES = 12
"""Programs of each population shown on the page."""


@dataclass(frozen=True)
class Population:
    """Samples of one generator on one set of tasks; arrays are `[tasks, n]`."""

    key: str
    tasks: list[Task]
    samples: list[list[Sample]]
    verdicts: list[list[Verdict]]
    passed: NDArray[np.bool_]
    scores: Mapping[str, Floats]
    """`reward-1`, ...: rerankers. `logprob`: mean log-probability a token under the model that sampled.
    `sft_logprob`: summed log-probability under the SFT generator."""
    greedy: Floats
    """`[tasks]`: 1.0 where the greedy program passed; zeros on validation tasks, where it is not needed."""


def measure(loop: Loop) -> dict[str, Any]:
    """Sample, judge and score all populations; write `evaluation.json` and `report.html`; print the table."""
    fitted = [collect(loop, key, model, "validation") for key, model in generators(loop).items()]
    measured = [collect(loop, key, model, "evaluation") for key, model in generators(loop).items()]

    def work() -> dict[str, Any]:
        figures = summarise(loop, fitted, measured)
        write_json(loop.path / "evaluation.json", figures)
        return {"differences": figures["differences"]}

    loop.stage("evaluate", work)
    figures: dict[str, Any] = json.loads((loop.path / "evaluation.json").read_text(encoding="utf-8"))
    processes.on_main(lambda: write_report(loop.path) and None)
    if processes.is_main():
        print(terminal_table(figures))
    return figures


def generators(loop: Loop) -> dict[str, Path]:
    """Every generator that is measured."""
    rounds = range(1, loop.recipe.loop.rounds + 1)
    return {"sft": loop.generator} | {f"policy-{round}": loop.policy(round) for round in rounds}


# --- samples, verdicts, scores ------------------------------------------------------------------------------------


def collect(loop: Loop, key: str, model: Path, split: str) -> Population:
    """Draw, judge and score one generator's samples on one split, or read them where that is done."""
    folder = loop.path / split / key
    tasks, n = loop.tasks(split), loop.recipe.evaluation.n
    options = loop.recipe.sampling.model_copy(update={"n": n, "seed": loop.recipe.sampling.seed + SEEDS[split]})
    loop.sample_and_judge(model, tasks, folder, options)
    samples, verdicts = by_task(loop, folder, n)
    greedy = np.zeros(len(tasks))
    if split == "evaluation":
        loop.sample_and_judge(model, tasks, folder / "greedy", options.model_copy(update={"n": 1, "temperature": 0.0}))
        greedy = np.array([float(group[0].passed) for group in by_task(loop, folder / "greedy", 1)[1]])
    loop.stage(f"score {split}/{key}", lambda: score(loop, tasks, samples, folder / "scores.jsonl"))
    with (folder / "scores.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    names = [name for name in rows[0] if name not in ("task_id", "sample_id")]
    scores = {name: np.array([row[name] for row in rows]).reshape(len(tasks), n) for name in names}
    scores["logprob"] = np.array([[sample.mean_logprob for sample in group] for group in samples])
    passed = np.array([[verdict.passed for verdict in group] for group in verdicts])
    return Population(key, tasks, samples, verdicts, passed, scores, greedy)


def by_task(loop: Loop, folder: Path, n: int) -> tuple[list[list[Sample]], list[list[Verdict]]]:
    """Samples and verdicts of a folder, `n` for each task in task order (as they were written)."""
    samples, verdicts = loop.judged(folder)
    groups = range(0, len(samples), n)
    return [samples[i : i + n] for i in groups], [verdicts[i : i + n] for i in groups]


def score(loop: Loop, tasks: list[Task], samples: list[list[Sample]], path: Path) -> dict[str, Any]:
    """Write each sample's score by every round's reranker and its log-probability under the SFT generator."""
    flat = [sample for group in samples for sample in group]
    owners = [task for task, group in zip(tasks, samples, strict=True) for _ in group]
    pairs = [(task.prompt, sample.completion) for task, sample in zip(owners, flat, strict=True)]
    columns = {
        f"reward-{round}": loop.reranker(round).predict(pairs) for round in range(1, loop.recipe.loop.rounds + 1)
    }
    model, tokenizer = loop.load_generator()
    columns["sft_logprob"] = LogProbability(model, tokenizer, loop.recipe.prompt)(owners, flat)
    rows = (
        {"task_id": sample.task_id, "sample_id": sample.sample_id}
        | {name: round(float(column[i]), 6) for name, column in columns.items()}
        for i, sample in enumerate(flat)
    )
    return {"samples": write_records(path, rows)}


# --- figures ------------------------------------------------------------------------------------------------------


def summarise(loop: Loop, fitted: list[Population], measured: list[Population]) -> dict[str, Any]:
    """The document `evaluation.json` (see `report.figures`)."""
    options, rounds = loop.recipe.evaluation, loop.recipe.loop.rounds
    populations, notes = [], []
    best: dict[str, dict[str, Floats]] = {}
    for held_out, population in zip(fitted, measured, strict=True):
        weights = {
            f"reward-{round}": log_probability_weight(held_out, f"reward-{round}") for round in rounds_of(rounds)
        }
        ranked = rankings(population, weights)
        curves = {
            name: best_of_curve(scores, population.passed, powers(options.n)).T for name, scores in ranked.items()
        }
        best[population.key] = {name: points[-1] for name, points in curves.items()}
        best[population.key]["greedy"] = population.greedy
        shown = [ranker_row(name, points, options) for name, points in curves.items()]
        populations.append(
            {
                "key": population.key,
                "title": title(population.key),
                "distinct": interval(distinct_share(population), options),
                "rankers": [ranker_row("greedy", best[population.key]["greedy"][None], options), *shown],
                "sums": {
                    f"{name}+logprob": {name: 1 / weight.scale, "sft_logprob": weight.value}
                    for name, weight in weights.items()
                },
                "pairwise": [pairwise_row(population, name, options) for name in ("logprob", *weights)],
                "calibration": list(calibrations(population, ranked, rounds, options)),
            }
        )
        notes.append(
            f"{title(population.key)}: log-probability weights fitted on {len(held_out.tasks)} validation tasks: "
            + ", ".join(f"{weight.value:g} for {name} (in its standard deviations)" for name, weight in weights.items())
        )
    return {
        "name": loop.recipe.name,
        "tasks": len(measured[0].tasks),
        "n": options.n,
        "confidence": options.confidence,
        "populations": populations,
        "differences": [
            {"title": name, "mean": found.mean, "low": found.low, "high": found.high, "p": found.p_value}
            for name, found in differences(best, rounds, options).items()
        ],
        "stages": [
            {"name": name, "seconds": entry["seconds"]}
            for name, entry in loop.run.manifest["stages"].items()
            if "seconds" in entry
        ],
        "peak_memory_mb": peak_memory_mb(),
        "examples": [example for population in measured for example in examples(population, rounds)],
        "notes": notes,
    }


def rounds_of(rounds: int) -> range:
    return range(1, rounds + 1)


@dataclass(frozen=True)
class Weight:
    """How a reranker's score and the log-probability are added: score / scale + value * log p."""

    scale: float
    value: float

    def combine(self, score: Floats, log_probability: Floats) -> Floats:
        return score / self.scale + self.value * log_probability


def log_probability_weight(held_out: Population, name: str) -> Weight:
    """Fitted on validation tasks."""
    scores = held_out.scores[name]
    scale = float(scores.std()) or 1.0
    return Weight(scale, fit_weight(scores / scale, held_out.scores["sft_logprob"], held_out.passed)[0])


def rankings(population: Population, weights: Mapping[str, Weight]) -> dict[str, Floats]:
    """Scores `[tasks, n]` of every ranker, from chance to the oracle."""
    scores = population.scores
    return {
        "mean": np.zeros(population.passed.shape),
        "logprob": scores["logprob"],
        **{name: scores[name] for name in weights},
        **{f"{name}+logprob": w.combine(scores[name], scores["sft_logprob"]) for name, w in weights.items()},
        "oracle": population.passed.astype(float),
    }


def differences(best: Mapping[str, Mapping[str, Floats]], rounds: int, options: EvaluationOptions) -> dict[str, Any]:
    """The comparisons the loop stands or falls by, paired by task."""
    last, final = f"policy-{rounds}", f"reward-{rounds}"
    pairs = {
        f"whole system ({title(last)}, best of {options.n} by {title(final)} + log p) - greedy of the SFT generator": (
            best[last][f"{final}+logprob"],
            best["sft"]["greedy"],
        ),
        f"{title(last)}, best of {options.n} by {title(final)} - greedy of the SFT generator": (
            best[last][final],
            best["sft"]["greedy"],
        ),
    }
    for key, found in best.items():
        if rounds > 1:
            pairs[f"{title(key)}: best by {title(final)} - by {title('reward-1')}"] = found[final], found["reward-1"]
        pairs[f"{title(key)}: best by {title(final)} - by mean log-probability"] = found[final], found["logprob"]
        pairs[f"{title(key)}: best by {title(final)} + log p - by mean log-probability"] = (
            found[f"{final}+logprob"],
            found["logprob"],
        )
        pairs[f"{title(key)}: best by {title(final)} - its own greedy"] = found[final], found["greedy"]
    return {name: paired_difference(a, b, options) for name, (a, b) in pairs.items()}


def ranker_row(name: str, points: Floats, options: EvaluationOptions) -> dict[str, Any]:
    """
    Args:
        points: `[curve, tasks]`, the expected pass at n = 1, 2, 4, ..., the last being the figure.
    """
    curve = [{"n": n} | interval(values, options) for n, values in zip(powers(options.n), points, strict=False)]
    return {"key": name, "title": title(name), "curve": curve if len(points) > 1 else []} | interval(
        points[-1], options
    )


def pairwise_row(population: Population, name: str, options: EvaluationOptions) -> dict[str, Any]:
    """Pairwise accuracy on all pairs and on hard ones: pairs whose wrong program the SFT generator finds likelier."""
    scores, passed = population.scores[name], population.passed
    row: dict[str, Any] = {"ranker": name}
    if (passed.any(axis=1) & ~passed.all(axis=1)).any():
        every = pairwise_accuracy(scores, passed).per_task
        row["all"] = interval(every[np.isfinite(every)], options)
    hard = hard_pair_accuracy(scores, passed, population.scores["sft_logprob"])
    if len(hard):
        row["hard"] = interval(hard, options)
    return row


def calibrations(
    population: Population, ranked: Mapping[str, Floats], rounds: int, options: EvaluationOptions
) -> Iterator[dict[str, Any]]:
    """What the likelihood, the last reranker and the two together say about the chance that a program passes."""
    problems = [task.metadata.get("name", task.task_id) for task in population.tasks]
    for name in ("logprob", f"reward-{rounds}", f"reward-{rounds}+logprob"):
        found = calibrate_table(name, ranked[name], population.passed, problems, options)
        if found is not None:
            yield asdict(found)


def hard_pair_accuracy(scores: Floats, passed: NDArray[np.bool_], likelihood: Floats) -> Floats:
    """Accuracy of each task that has hard pairs, on those: wrong programs likelier than the correct one; ties half."""
    found = []
    for row, ok, likely in zip(scores, passed, likelihood, strict=True):
        hard = likely[~ok][None, :] > likely[ok][:, None]
        margin = row[ok][:, None] - row[~ok][None, :]
        if hard.any():
            found.append(float((0.5 + 0.5 * np.sign(margin[hard])).mean()))
    return np.array(found)


def distinct_share(population: Population) -> Floats:
    """Share of distinct programs among each task's samples."""
    keys = [
        [canonical_program(sample.program, task.language) for sample in group]
        for task, group in zip(population.tasks, population.samples, strict=True)
    ]
    n = population.passed.shape[1]
    return distinct_per_n(keys, n) / n


def examples(population: Population, rounds: int) -> Iterator[dict[str, Any]]:
    """Programs for the page: the wrong ones that the last reranker scores highest, then some correct ones."""
    scores, n = population.scores[f"reward-{rounds}"], population.passed.shape[1]
    shown: set[tuple[int, str]] = set()
    left = {False: EXAMPLES * 2 // 3, True: EXAMPLES // 3}
    for place in scores.ravel().argsort()[::-1]:
        task, number = divmod(int(place), n)
        passed, program = bool(population.passed[task, number]), population.samples[task][number].program
        if not left[passed] or (task, program) in shown:
            continue
        shown.add((task, program))
        left[passed] -= 1
        verdict = population.verdicts[task][number]
        yield {
            "population": population.key,
            "task_id": verdict.task_id,
            "prompt": population.tasks[task].prompt,
            "program": program,
            "passed": passed,
            "status": verdict.status,
            "detail": verdict.detail,
            "scores": {name: round(float(values[task, number]), 3) for name, values in population.scores.items()},
        }


def interval(values: Floats, options: EvaluationOptions) -> dict[str, float]:
    found = bootstrap_interval(values, options)
    return {"mean": found.mean, "low": found.low, "high": found.high}


def title(key: str) -> str:
    """How a population or a ranker is called in tables."""
    fixed = {
        "sft": "SFT generator",
        "mean": "mean (pass@1)",
        "greedy": "greedy",
        "logprob": "mean log-probability",
        "oracle": "oracle",
    }
    if key in fixed:
        return fixed[key]
    kind, _, rest = key.partition("-")
    round, plus, _ = rest.partition("+")
    return {"policy": "policy of round ", "reward": "reward model "}[kind] + round + (" + log p" if plus else "")


def peak_memory_mb() -> float:
    """Highest resident memory of this process and of its largest child, in MB."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round((own + children) / 1024, 1)
