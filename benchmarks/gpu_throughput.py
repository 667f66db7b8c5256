"""What a device does with one model: tokens a second, share of its measured matrix rate, peak memory, part by part.

    python benchmarks/gpu_throughput.py --model smollm2-135m --device cuda --dtype bfloat16

The matrix rate is that of square products in the same precision, measured first, not the data sheet's. A part's share
of it counts 2 operations a weight and token forward and 6 with the backward pass (arXiv 2001.08361), the head's weights
only where logits are needed (programs), the input embedding's never; attention and padding are not counted: only real
tokens are work. A prompt that candidates share counts for each of them, as it would cost without sharing: a share above
1 is sharing's. Trainings are timed from their first step to their last, without tokenising, loading and saving. PPO's
reward is a program's length, and nothing is executed: its update is what is timed beside its rollouts.

Each part is measured after a run of it that is not counted, and written at once: the same command measures only parts
that are missing in the output. Not measured: quality, and anything on several GPUs.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rewardranker.config import PPOOptions, PromptOptions, RewardOptions, SamplingOptions, SFTOptions
from rewardranker.generation import TransformersSampler
from rewardranker.models import choose_device, load_causal_lm, use_threads
from rewardranker.policy import train_ppo, train_sft
from rewardranker.reward import RewardRanker, train_reward
from rewardranker.runs import write_json
from rewardranker.tasks import load_tasks
from rewardranker.types import Candidate, PreferenceGroup, Verdict

PLAIN = PromptOptions()
RESULTS = Path(__file__).parent / "results" / "gpu"


def matrix_rate(device: str, dtype: torch.dtype, size: int) -> float:
    """Floating-point operations a second of products of square matrices, the best of five runs."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(6):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        synchronise(device)
        best = max(best, 10 * 2 * size**3 / (time.perf_counter() - start))
    return best


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Stopwatch:
    """A `ProgressReporter` that takes the time from a training's first step to its last."""

    def __init__(self, device: str) -> None:
        self._device, self.seconds = device, 0.0

    def start(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None:
        synchronise(self._device)
        self._begun = time.perf_counter()

    def update(self, done: int, **figures: float | int | str) -> None:
        synchronise(self._device)
        self.seconds = time.perf_counter() - self._begun

    def finish(self, **figures: float | int | str) -> None: ...


Measured = dict[str, float]


class Parts:
    """The parts that are measured; each gives its tokens, seconds and operations."""

    def __init__(self, name: str, dtype: str, device: str, groups: int, length: int, folder: Path) -> None:
        self.name, self.dtype, self.device, self.length, self.groups = name, dtype, device, length, groups
        self.tasks = load_tasks("synthetic:test", groups, 0)
        body = "    total = value + 1\n" * max(1, length // 8)
        self.programs = [body + f"    return total * {number}\n" for number in range(16)]
        self.pairs = [(task.prompt, program) for task in self.tasks for program in self.programs]
        self._runs = (folder / str(number) for number in range(100))
        self.limits: dict[str, Any] = {"batch_tokens": 16_384, "max_length": 1024, "save_steps": 10_000}
        model, tokenizer = self.load()
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        self.head = head.numel()
        every = sum(parameter.numel() for parameter in model.parameters())
        self.body = every - embedding.numel() - (0 if head is embedding else head.numel())
        self.read, self.written = (
            sum(len(tokenizer(text)["input_ids"]) for text in texts)
            for texts in ([prompt + program for prompt, program in self.pairs], [p for _, p in self.pairs])
        )

    def load(self) -> tuple[Any, Any]:
        return load_causal_lm(self.name, self.dtype, self.device)

    def measure(self, part: str) -> Measured:
        """A part's figures, after a run of it that warms up; peak memory is the device's, of the second run."""
        run = getattr(self, part.replace(" ", "_").lower())()
        next(run)
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        found: Measured = next(run)
        peak = torch.cuda.max_memory_allocated() if self.device.startswith("cuda") else 0
        run.close()
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return {**found, "peak_bytes": peak, "body": self.body, "head": self.head}

    def timed(self, work: Callable[[], int]) -> tuple[int, float]:
        synchronise(self.device)
        start = time.perf_counter()
        tokens = work()
        synchronise(self.device)
        return tokens, time.perf_counter() - start

    # Each part yields the figures of one run after another, with the same models.

    def sft(self) -> Iterator[Measured]:
        model, tokenizer = self.load()
        examples = self.pairs
        while True:
            watch = Stopwatch(self.device)
            train_sft(
                examples, model, tokenizer, SFTOptions(**self.limits, epochs=1), PLAIN, next(self._runs),
                progress=watch, device=self.device,
            )  # fmt: skip
            operations = 6 * (self.body * self.read + self.head * self.written)
            yield {"tokens": self.read, "seconds": watch.seconds, "operations": operations}

    def reward_training(self) -> Iterator[Measured]:
        model, tokenizer = self.load()
        groups = [
            PreferenceGroup(
                task.task_id, task.prompt, tuple(Candidate(p, i % 2 == 0, i % 2) for i, p in enumerate(self.programs))
            )
            for task in self.tasks
        ]
        while True:
            watch = Stopwatch(self.device)
            train_reward(
                groups, model, tokenizer, RewardOptions(**self.limits, epochs=1), PLAIN, next(self._runs),
                progress=watch, dtype=self.dtype, device=self.device,
            )  # fmt: skip
            yield {"tokens": self.read, "seconds": watch.seconds, "operations": 6 * self.body * self.read}

    def scoring(self) -> Iterator[Measured]:
        folder = next(self._runs)
        model, tokenizer = self.load()
        options = RewardOptions(**self.limits, epochs=0.01)  # for a reward model's folder
        group = PreferenceGroup(
            "t", "def f():\n", (Candidate("    return 1\n", True, 0), Candidate("    pass\n", False, 1))
        )
        train_reward([group], model, tokenizer, options, PLAIN, folder, dtype=self.dtype, device=self.device)
        del model
        ranker = RewardRanker.from_pretrained(folder, self.device)
        while True:
            _, seconds = self.timed(lambda: len(ranker.predict(self.pairs)))
            yield {"tokens": self.read, "seconds": seconds, "operations": 2 * self.body * self.read}

    def sampling(self) -> Iterator[Measured]:
        model, tokenizer = self.load()
        sampler = TransformersSampler(model, tokenizer, self.drawing(16), PLAIN, self.name)
        while True:
            tokens, seconds = self.timed(
                lambda: sum(len(s.token_ids) for group in sampler.sample(self.tasks, 16) for s in group)
            )
            yield {"tokens": tokens, "seconds": seconds, "operations": 2 * (self.body + self.head) * tokens}

    def drawing(self, n: int, **changes: Any) -> SamplingOptions:
        batch = max(1, min(self.groups, 512 // n))
        return SamplingOptions(max_new_tokens=self.length, temperature=1.0, batch_tasks=batch, **changes)

    def ppo(self) -> Iterator[Measured]:
        model, tokenizer = self.load()

        def rollout(policy: Any, tasks: Any, n: int, *, seed: int, temperature: float) -> Any:
            sampler = TransformersSampler(policy, tokenizer, self.drawing(n, seed=seed), PLAIN, self.name)
            return list(sampler.sample(tasks, n))

        while True:
            options = PPOOptions(
                steps=2, tasks_per_step=self.groups, samples_per_task=8, evaluate_every=10**6, validation_samples=1,
                max_new_tokens=self.length, normalize_reward=False, missing_end_penalty=0.0, learning_rate=1e-6,
            )  # fmt: skip
            history = train_ppo(
                model, None, tokenizer, self.tasks, self.tasks[:1], LengthReward(), rollout, NoJudge(), options, PLAIN,
                next(self._runs), device=self.device,
            ).history  # fmt: skip
            last = history[-1]
            episodes = self.groups * options.samples_per_task
            written = last["episode/length"] * episodes
            prompts = sum(len(tokenizer(task.prompt)["input_ids"]) for task in self.tasks) * options.samples_per_task
            passes = 2 * 2 + 6 * options.epochs  # policy and reference before the updates, then the updates
            learning = passes * (self.body * (prompts + written) + self.head * written)
            seconds = {part: last[f"seconds/{part}"] for part in ("rollout", "score", "forward", "update")}
            yield {
                "tokens": prompts + written,
                "seconds": sum(seconds.values()),
                "operations": learning + 2 * (self.body + self.head) * written,
                "episodes": episodes,
                **{f"seconds_{part}": value for part, value in seconds.items()},
            }


PARTS = ("SFT", "reward training", "scoring", "sampling", "PPO")


class LengthReward:
    """A program's characters: no second model beside the ones that are measured."""

    def __call__(self, tasks: Any, samples: Any) -> Any:
        return np.asarray([len(sample.completion) / 100 for sample in samples], dtype=np.float32)


class NoJudge:
    """Nothing is executed."""

    isolation = "none"

    def judge(self, items: Any) -> Iterator[Verdict]:
        for task, sample in items:
            yield Verdict(task.task_id, sample.sample_id, False, "skipped")

    def close(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--groups", type=int, default=32, help="tasks, of 16 programs each")
    parser.add_argument("--length", type=int, default=128, help="tokens of a program, about")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the measured products")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=RESULTS / "throughput.json")
    options = parser.parse_args()
    use_threads(None)
    device = choose_device(options.device)
    card = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    settings = {name: getattr(options, name) for name in ("model", "dtype", "groups", "length", "matrix")}
    result: dict[str, Any] = {"card": card, "torch": torch.__version__, **settings, "parts": {}}
    if options.output.exists():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        if {name: before.get(name) for name in ("card", *settings)} == {"card": card, **settings}:
            result |= before
    if "matrix_rate" not in result:
        result["matrix_rate"] = matrix_rate(device, getattr(torch, options.dtype), options.matrix)
    rate, found = result["matrix_rate"], result["parts"]
    with tempfile.TemporaryDirectory() as folder:
        parts: Parts | None = None
        for part in options.parts:
            if part in found:
                continue
            parts = parts or Parts(options.model, options.dtype, device, options.groups, options.length, Path(folder))
            figures = found[part] = parts.measure(part)
            figures["tokens_per_second"] = figures["tokens"] / figures["seconds"]
            figures["share"] = figures["operations"] / figures["seconds"] / rate
            write_json(options.output, result)
    print(f"{card}, {options.model}, {options.dtype}: matrix rate {rate / 1e12:.2f} Tflop/s\n")
    print("| part | tokens/s | share of the matrix rate | peak memory, GiB |\n|---|---|---|---|")
    for part, figures in found.items():
        memory = f"{figures['peak_bytes'] / 2**30:.2f}" if figures["peak_bytes"] else "not measured"
        print(f"| {part} | {figures['tokens_per_second']:,.0f} | {figures['share']:.1%} | {memory} |")
    if "PPO" in found:
        shares = ", ".join(f"{name[8:]} {value:.2f} s" for name, value in found["PPO"].items() if "seconds_" in name)
        print(f"\nA step of PPO ({found['PPO']['episodes']} episodes): {shares}")


if __name__ == "__main__":
    main()
