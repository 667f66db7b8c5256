"""Rankers that read programs, on CodeT's samples: likelihood, Coder-Reviewer, reward models. None has seen HumanEval.

    python benchmarks/codet_table.py   --data DATA/codet --output runs/codet --samples 20
    python benchmarks/codet_learned.py --data DATA/codet --codet runs/codet --output runs/codet-learned \
        --model smollm2=smollm2-135m --model qwen=qwen2.5-coder-0.5b.gguf \
        --reward smollm2-mbpp=runs/mbpp/reward --reward qwen-mbpp=runs/mbpp/reward-qwen

The first 20 of CodeT's 100 CodeGen-16B programs for each HumanEval task are ranked, with the verdicts and the outcomes
on generated tests that the first command left (one of 100 programs a task serves too). A `--model` is any causal
language model (folder, hub name, GGUF file), a `--reward` any reward model or run directory. Two that were trained on
MBPP alone, on SmolLM2's own wrong programs against MBPP's solutions (a small model passes few tasks):

    rewardranker sample --config smollm2 --tasks mbpp:train --limit 120 --output runs/mbpp/samples.jsonl sampling.n=2
    rewardranker judge runs/mbpp/samples.jsonl --config smollm2 --tasks mbpp:train --output runs/mbpp/verdicts.jsonl
    rewardranker prefer runs/mbpp/samples.jsonl runs/mbpp/verdicts.jsonl --config smollm2 --tasks mbpp:train \
        --output runs/mbpp/groups.jsonl
    rewardranker reward runs/mbpp/groups.jsonl --config smollm2 --model smollm2-135m --output-dir runs/mbpp/reward
    rewardranker reward runs/mbpp/groups.jsonl --config smollm2 --model qwen2.5-coder-0.5b.gguf \
        --output-dir runs/mbpp/reward-qwen

(`mbpp:train` comes from the hub; of a local copy, give `--tasks mbpp:train:mbpp.jsonl` to the first three.)

Tasks are scored one by one in a seeded random order, each by every model before the next, and scores are kept: a
second call goes on, with more models too. The table is over the tasks that are scored, a random part of HumanEval
until all are, so figures of an interrupted run are unbiased. Where models got unequally far, there is a table for each
number of tasks.

Nothing is fitted or chosen on HumanEval: combinations have weight 1, on scores standardised within a task. Not
guaranteed: that a language model's own training data had no HumanEval, which nobody outside can tell.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from codet_table import load, summary
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation import Evaluation, Ranked, evaluate
from rewardranker.generation.likelihood import CausalLikelihood
from rewardranker.models import choose_device, load_causal_lm, use_threads
from rewardranker.progress import Progress
from rewardranker.ranking import GeneratedTests
from rewardranker.ranking.by_tests import B4, CodeT, MaxPass, TestOutcomes
from rewardranker.ranking.likelihood import CoderReviewer, Likelihood, LikelihoodScorer
from rewardranker.ranking.protocol import Ranker
from rewardranker.ranking.rankers import Reward, Shortest, standardised
from rewardranker.reward import RewardRanker
from rewardranker.runs import RecordLog, read_records, write_json, write_text
from rewardranker.types import Ranking, Sample, Task, Verdict

Floats = NDArray[np.float64]
RESULT = Path(__file__).parent / "results" / "codet_learned.json"
BASELINES = ("mean of n", "codet")


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's scores of one task's programs."""

    task_id: str
    column: str
    scores: tuple[float, ...]
    seconds: float


def main() -> None:
    options = parse()
    tasks, samples, _ = load(options.data, None, options.samples)
    order = random.Random(0).sample(tasks, len(tasks))[: options.tasks]
    groups = {task.task_id: [s for s in samples if s.task_id == task.task_id] for task in order}
    columns = score(order, groups, options)
    tables, documents = [], []
    lengths = sorted({len(rows) for rows in columns.values()} - {0}, reverse=True)
    for done in lengths:
        found = measure(
            order[:done], groups, {name: rows for name, rows in columns.items() if len(rows) >= done}, options
        )
        tables.append(markdown(found, options.samples))
        documents.append(summary(found))
    text = "\n".join(tables)
    write_text(options.output / "table.md", text)
    if options.tasks is None:
        write_json(RESULT, {"samples": options.samples, "tables": documents})
    print(text, end="")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/codet"))
    parser.add_argument("--codet", type=Path, required=True, help="output folder of codet_table.py")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", type=named, action="append", default=[], metavar="NAME=MODEL")
    parser.add_argument("--reward", type=named, action="append", default=[], metavar="NAME=MODEL")
    parser.add_argument("--samples", type=int, default=20, help="programs a task")
    parser.add_argument("--tasks", type=int, help="only so many tasks, to try it; results/ is left alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop scoring after so long")
    parser.add_argument("--batch-tokens", type=int, default=1024, help="bounds memory: logits of a large vocabulary")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=MODEL")
    return name, value


# --- scores -------------------------------------------------------------------------------------------------------


def score(
    order: Sequence[Task], groups: dict[str, list[Sample]], options: argparse.Namespace
) -> dict[str, list[Scored]]:
    """Score what is not scored yet; of each column the rows of the first so many tasks of the order."""
    use_threads(options.threads)
    device = choose_device(options.device)
    models = [Model("model", *pair, options, device) for pair in options.model]
    models += [Model("reward", *pair, options, device) for pair in options.reward]
    begun = time.monotonic()
    progress = Progress()
    progress.begin("scoring")
    missing = {model.name: len(order) - model.done(order) for model in models}
    total = len(order) * len(models)
    progress.start("tasks x models", total, "done", total - sum(missing.values()))
    for place, task in enumerate(order):
        for model in models:
            if model.done(order) > place:
                continue
            if time.monotonic() - begun > 60 * options.minutes:
                break
            model.score(task, groups[task.task_id])
            missing[model.name] -= 1
            progress.update(total - sum(missing.values()), tasks=place + 1)
    if any(missing.values()):
        print(f"stopped after {options.minutes:g} minutes, the same command goes on: {missing}", file=sys.stderr)
    else:
        progress.finish()
    return {column: rows for model in models for column, rows in model.columns(order).items()}


class Model:
    """A model, loaded when it is first asked, with the file of its scores."""

    def __init__(self, kind: str, name: str, path: str, options: argparse.Namespace, device: str) -> None:
        self.name = f"{kind} {name}"
        self._kind, self._path, self._options, self._device = kind, path, options, device
        self._rankers: dict[str, Ranker] = {}
        self._begin_task: Callable[[], None] = lambda: None
        short = name.replace("/", "_")
        self._columns = (
            [f"reward {name}"]
            if kind == "reward"
            else [
                f"likelihood {name}",
                f"mean-likelihood {name}",
                f"coder-reviewer {name}",
                f"mean-coder-reviewer {name}",
            ]
        )
        self._log = RecordLog(options.output / f"{kind}-{short}.jsonl", Scored)
        self._log.keep(len(self._log) // len(self._columns) * len(self._columns))
        origin = options.output / f"{kind}-{short}.txt"
        expected = f"{path}, {options.samples} programs a task\n"
        if origin.exists() and len(self._log) and origin.read_text() != expected:
            raise SystemExit(
                f"{origin}: these scores are of {origin.read_text().strip()}: choose another name or folder"
            )
        write_text(origin, expected)
        self._rows = list(self._log.read())

    def done(self, order: Sequence[Task]) -> int:
        """How many tasks of the order are scored."""
        ids = [row.task_id for row in self._rows[:: len(self._columns)]]
        assert ids == [task.task_id for task in order[: len(ids)]] or len(ids) > len(order), "scores of other tasks"
        return len(ids)

    def columns(self, order: Sequence[Task]) -> dict[str, list[Scored]]:
        return {name: [row for row in self._rows if row.column == name][: len(order)] for name in self._columns}

    def score(self, task: Task, samples: list[Sample]) -> None:
        if not self._rankers:
            self._load()
        self._begin_task()
        rows = []
        for column, ranker in self._rankers.items():
            (ranking,) = ranker.rank([(task, samples)])
            # What an earlier column of the model passed through it, this one needed too.
            seconds = sum(row.seconds for row in rows[-1:]) + ranker.cost.seconds
            rows.append(Scored(task.task_id, column, ranking.scores, seconds))
        self._log.append(rows)
        self._rows += rows

    def _load(self) -> None:
        if self._kind == "reward":
            reward = RewardRanker.from_pretrained(self._path, self._device)
            reward.options = reward.options.model_copy(update={"max_length": 1 << 20})  # nothing is cut
            self._rankers = {self._columns[0]: Reward(reward)}
            return
        scorer = Remembering(
            CausalLikelihood(*load_causal_lm(self._path, device=self._device), batch_tokens=self._options.batch_tokens)
        )
        self._begin_task = scorer.forget
        rankers = (
            Likelihood(scorer),
            Likelihood(scorer, mean=True),
            CoderReviewer(scorer),
            CoderReviewer(scorer, mean=True),
        )
        self._rankers = dict(zip(self._columns, rankers, strict=True))


class Remembering:
    """Passes each text to the model once, though several rankers ask for it."""

    def __init__(self, scorer: LikelihoodScorer) -> None:
        self._scorer = scorer
        self._known: dict[tuple[str, str], tuple[float, int]] = {}

    def forget(self) -> None:
        self._known.clear()

    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> tuple[Floats, NDArray[np.int64]]:
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        if new:
            sums, tokens = self._scorer.log_likelihoods(new)
            self._known |= dict(zip(new, zip(sums.tolist(), tokens.tolist(), strict=True), strict=True))
        found = [self._known[pair] for pair in pairs]
        return np.array([s for s, _ in found]), np.array([t for _, t in found], np.int64)


# --- figures ------------------------------------------------------------------------------------------------------


def measure(
    tasks: Sequence[Task],
    groups: dict[str, list[Sample]],
    columns: dict[str, list[Scored]],
    options: argparse.Namespace,
) -> Evaluation:
    """All rankers on these tasks: execution, the models' columns, and combinations of the two."""
    samples = [sample for task in tasks for sample in groups[task.task_id]]
    wanted = {(sample.task_id, sample.sample_id) for sample in samples}

    def read(name: str) -> list[Verdict]:
        records = read_records(options.codet / name, Verdict)
        return [record for record in records if (record.task_id, record.sample_id) in wanted]

    tests = list(read_records(options.codet / "tests.jsonl", GeneratedTests))
    outcomes = TestOutcomes(tests, read("test_verdicts.jsonl"))
    candidates = [(task, groups[task.task_id]) for task in tasks]
    rankers: list[Ranker] = [Shortest(), MaxPass(outcomes), CodeT(outcomes), B4(outcomes)]
    ranked = [Ranked(ranker.name, ranker.rank(candidates)) for ranker in rankers]
    codet = [np.array(ranking.scores) for ranking in ranked[2].rankings]
    given = {name: [np.array(row.scores) for row in rows[: len(tasks)]] for name, rows in columns.items()}
    for name, scores in (given | combinations(given, codet)).items():
        seconds = sum(row.seconds for row in columns[name][: len(tasks)]) if name in columns else None
        ranked.append(Ranked(name, rankings(tasks, groups, name, scores), seconds))
    chosen = EvaluationOptions(n=options.samples)
    return evaluate(tasks, samples, read("verdicts.jsonl"), ranked, chosen, baselines=BASELINES)


def combinations(given: dict[str, list[Floats]], codet: list[Floats]) -> dict[str, list[Floats]]:
    """Sums of two rankers, chosen before anything was measured."""
    found = {}
    for name, scores in given.items():
        kind, _, _ = name.partition(" ")
        if kind in ("mean-likelihood", "reward"):
            found[f"codet, ties by {name}"] = [tie_broken(c, s) for c, s in zip(codet, scores, strict=True)]
            found[f"codet + {name}"] = summed(codet, scores)
        if kind == "reward":
            for other, values in given.items():
                if other.startswith("likelihood "):
                    found[f"{name} + {other}"] = summed(scores, values)
    return found


def summed(first: list[Floats], second: list[Floats]) -> list[Floats]:
    return [standardised(a) + standardised(b) for a, b in zip(first, second, strict=True)]


def tie_broken(scores: Floats, breaker: Floats) -> Floats:
    """The rank by the first, then by the second; equal pairs keep equal numbers."""
    pairs = list(zip(scores.tolist(), breaker.tolist(), strict=True))
    place = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
    return np.array([place[pair] for pair in pairs], np.float64)


def rankings(
    tasks: Sequence[Task], groups: dict[str, list[Sample]], name: str, scores: Iterable[Floats]
) -> list[Ranking]:
    return [
        Ranking(task.task_id, name, tuple(s.sample_id for s in groups[task.task_id]), tuple(values.tolist()))
        for task, values in zip(tasks, scores, strict=True)
    ]


def markdown(found: Evaluation, samples: int) -> str:
    last = {row.ranker: row for row in found.rows}
    differences = {(d.ranker, d.baseline): d for d in found.differences}
    order = {quality.ranker: quality.pairwise_accuracy for quality in found.quality}
    seconds = {cost.ranker: cost.seconds for cost in found.costs}
    lines = [
        f"{found.tasks} HumanEval tasks x {samples} CodeGen-16B programs:",
        "",
        f"| best of {samples} by | % passed | - random | p | - CodeT | p | pairs in order, % | seconds a task |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in last.items():
        cells = [name, f"{100 * row.mean:.1f} ({100 * row.low:.1f} to {100 * row.high:.1f})"]
        for baseline in BASELINES:
            d = differences.get((name, baseline))
            cells += (
                [f"{100 * d.mean:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f})", f"{d.p_value:.2g}"]
                if d
                else ["", ""]
            )
        accuracy, cost = order.get(name), seconds.get(name)
        cells.append(f"{100 * accuracy.mean:.1f}" if accuracy else "")
        cells.append(f"{cost / found.tasks:.2f}" if cost is not None else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
