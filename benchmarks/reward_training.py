"""Training the reranker beside TRL's RewardTrainer: time to the same held-out accuracy, peak memory.

    pip install -c constraints.txt -e ".[bench]"
    rewardranker quickstart --output-dir runs/quickstart
    python benchmarks/reward_training.py --run runs/quickstart

Samples and model are those of a finished run: the preference groups of its first round, some held out, and its SFT
model with one and the same new head. Both trainers read the same tokens with the same optimiser, learning rate
(constant), tokens a step, float32, pooling `last`. TRL gets the pairs: all of a group, or (`some pairs`) so many that
every candidate stands in about one; a pair is two rows. Its gradient checkpointing, on by default, is off, as it costs
time. Ours gets the groups: each candidate once, each prompt once.

Every training is a process of its own, and is evaluated along the way while its clock stands still; tokenising is not
timed. Accuracy is pairwise on the held-out groups, each group weighing the same. Peak memory is what a process held
beyond the start of its training, before its first evaluation. With `--model smollm2-135m --layers 4` the model is a
larger one that was not trained on these tasks; a share of a small model's time is not spent in its matrices.
Not guaranteed: that either trainer is at its best learning rate; give `--learning-rate` to see others.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from rewardranker.config import PromptOptions, RewardOptions
from rewardranker.models import load_causal_lm, use_threads
from rewardranker.reward import train_reward, trainer
from rewardranker.reward.data import EncodedGroup, encode_groups
from rewardranker.reward.model import RewardSettings, from_causal_lm, load_reward_model, save_reward_model
from rewardranker.reward.trainer import evaluate_groups
from rewardranker.runs import read_records, write_json
from rewardranker.training import quiet_transformers
from rewardranker.types import PreferenceGroup

RESULT = Path(__file__).parent / "results" / "reward_training.json"
OURS, TRL_ALL, TRL_SOME = "rewardranker", "TRL, all pairs", "TRL, some pairs"
POINTS = 20
"""Evaluations along a training."""
LENGTH = 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished quickstart")
    parser.add_argument("--groups", type=int, default=1200, help="groups to train on")
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--trl-epochs", type=float, default=1.0, help="over all pairs; over some, three times as many")
    parser.add_argument("--model", help="instead of the run's SFT model")
    parser.add_argument("--layers", type=int, help="keep the first so many layers only")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu", help="cpu or cuda; memory is then the GPU's")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        with quiet_transformers():
            causal, tokenizer = load_causal_lm(arguments.model or str(arguments.run / "sft"))
            if arguments.layers:
                causal.base_model.layers = causal.base_model.layers[: arguments.layers]
                causal.config.num_hidden_layers = arguments.layers
            model = from_causal_lm(causal, tokenizer, seed=0)
            save_reward_model(model, tokenizer, RewardSettings(max_length=LENGTH), Path(folder) / "start")
        curves = {name: called(folder, name) for name in (OURS, TRL_ALL, TRL_SOME)}
    result = {
        name: value for name, value in vars(arguments).items() if name not in ("run", "output", "worker", "start")
    }
    result |= {"curves": curves, "table": compared(curves)}
    write_json(arguments.output, result)
    print(report(result))


def called(folder: str, worker: str) -> list[dict[str, float]]:
    """The points of a training in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", worker, "--start", folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# --- in the process of one training -----------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> None:
    use_threads(arguments.threads)
    groups = [
        group for group in read_records(arguments.run / "round-1" / "groups.jsonl", PreferenceGroup) if group.pairs
    ]
    random.Random(0).shuffle(groups)
    held_out, groups = groups[: arguments.held_out], groups[arguments.held_out :][: arguments.groups]
    method = arguments.worker
    epochs = {OURS: arguments.epochs, TRL_ALL: arguments.trl_epochs, TRL_SOME: 3 * arguments.trl_epochs}[method]
    options = RewardOptions(
        learning_rate=arguments.learning_rate,
        batch_tokens=arguments.batch_tokens,
        epochs=epochs,
        schedule="constant",
        warmup_share=0.0,
        max_length=LENGTH,
        save_steps=10_000,
    )
    start = arguments.start / "start"
    _, tokenizer, _ = load_reward_model(start)
    watch = Watch(encode_groups(held_out, tokenizer, PromptOptions(), LENGTH, False), options, arguments.device)
    if method == OURS:
        ours(groups, start, options, watch, arguments.start / "ours", arguments.device)
    else:
        encoded = encode_groups(groups, tokenizer, PromptOptions(), LENGTH, False)
        trl(encoded, start, options, watch, method == TRL_ALL, arguments.device)
    print(json.dumps(watch.points))


class Watch(TrainerCallback):
    """Held-out accuracy along a training, whose clocks stand still meanwhile."""

    def __init__(self, held_out: Sequence[EncodedGroup], options: RewardOptions, device: str) -> None:
        self.points: list[dict[str, float]] = []
        self._held_out, self._options, self._device = held_out, options, device

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._before, self._memory = peak(self._device), 0.0
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if state.global_step % max(1, state.max_steps // POINTS):
            return
        if self._device != "cpu":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        self._memory = self._memory or peak(self._device) - self._before
        accuracy = evaluate_groups(parts["model"], self._held_out, self._options)["accuracy"]
        parts["model"].train()
        point = {"wall": wall - self._wall, "cpu": cpu - self._cpu, "accuracy": accuracy, "memory": self._memory}
        self.points.append({"step": state.global_step, **point})
        self._wall += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu


def peak(device: str) -> float:
    """Most memory that this process has held, of the machine or of the GPU, in MiB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(
    groups: Sequence[PreferenceGroup], start: Path, options: RewardOptions, watch: Watch, to: Path, device: str
) -> None:
    class Watched(trainer._RewardTrainer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.add_callback(watch)

    trainer._RewardTrainer = Watched
    train_reward(groups, start, None, options, PromptOptions(), to, device=device)


def pairs_of(group: EncodedGroup, with_all: bool, draw: random.Random) -> list[dict[str, list[int]]]:
    pairs = [
        {"chosen_ids": list(chosen), "rejected_ids": list(rejected)}
        for chosen, chosen_passed in zip(group.rows, group.passed, strict=True)
        if chosen_passed
        for rejected, rejected_passed in zip(group.rows, group.passed, strict=True)
        if not rejected_passed
    ]
    return pairs if with_all else draw.sample(pairs, min(len(pairs), max(1, len(group.rows) // 2)))


def trl(
    groups: Sequence[EncodedGroup], start: Path, options: RewardOptions, watch: Watch, with_all: bool, device: str
) -> None:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    draw = random.Random(0)
    pairs = [pair for group in groups for pair in pairs_of(group, with_all, draw)]
    rows = sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in pairs) / len(pairs)
    size = max(1, round(options.batch_tokens / rows))
    steps = max(1, round(options.epochs * len(pairs) / size))
    model = AutoModelForSequenceClassification.from_pretrained(start)
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        config = RewardConfig(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=size,
            learning_rate=options.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=options.weight_decay,
            max_grad_norm=options.max_grad_norm,
            optim="adamw_torch_fused",
            bf16=False,
            gradient_checkpointing=False,
            max_length=None,
            use_cpu=device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=options.seed,
        )
        tokenizer = AutoTokenizer.from_pretrained(start)
        RewardTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
            callbacks=[watch],
        ).train()


# --- comparing --------------------------------------------------------------------------------------------------


def time_to(curve: Sequence[dict[str, float]], accuracy: float, clock: str) -> float | None:
    """When a curve first reaches an accuracy, linear between its points; None: never."""
    previous = None
    for point in curve:
        if point["accuracy"] >= accuracy:
            if previous is None:
                return point[clock]
            share = (accuracy - previous["accuracy"]) / (point["accuracy"] - previous["accuracy"])
            return previous[clock] + share * (point[clock] - previous[clock])
        previous = point
    return None


def accuracy_at(curve: Sequence[dict[str, float]], seconds: float) -> float | None:
    """The best accuracy that a curve has shown by then."""
    return max((point["accuracy"] for point in curve if point["wall"] <= seconds), default=None)


def compared(curves: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    rows = []
    for name, curve in curves.items():
        best, end = max(point["accuracy"] for point in curve), curve[-1]["wall"]
        row: dict[str, Any] = {"method": name, "seconds": end, "best": best, "memory": curve[0]["memory"]}
        row["ours_at_equal_time"] = accuracy_at(curves[OURS], end)
        for clock in ("wall", "cpu"):
            theirs, ours_ = time_to(curve, best, clock), time_to(curves[OURS], best, clock)
            row[f"{clock}_ratio"] = theirs / ours_ if theirs and ours_ else None
        rows.append(row)
    return rows


def report(result: dict[str, Any]) -> str:
    def written(value: float | None, form: str) -> str:
        return "never" if value is None else format(value, form)

    lines = [
        f"{result['model'] or 'SFT model'}, {result['groups']} groups, {result['held_out']} held out, "
        f"learning rate {result['learning_rate']}, {result['batch_tokens']} tokens a step",
        "",
        "| | seconds | best accuracy | time to it, of ours | processor time | ours by its end | peak memory, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['method']} | {row['seconds']:.0f} | {row['best']:.3f} | {written(row['wall_ratio'], '.2f')} "
        f"| {written(row['cpu_ratio'], '.2f')} | {written(row['ours_at_equal_time'], '.3f')} | {row['memory']:.0f} |"
        for row in result["table"]
    ]
    for name, curve in result["curves"].items():
        points = ", ".join(f"{point['wall']:.0f} s {point['accuracy']:.3f}" for point in curve)
        lines += ["", f"{name}: {points}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
