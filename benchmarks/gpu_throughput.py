"""What a device does with one model: tokens a second, share of its measured matrix rate, peak memory, part by part.

    python benchmarks/gpu_throughput.py --model smollm2-135m --device cuda --dtype bfloat16

The matrix rate is that of square products in the same precision, measured first, not the data sheet's. A part's share
of it counts 2 operations a parameter and token forward and 6 with the backward pass (arXiv 2001.08361); attention and
padding are not counted: only real tokens are work. A prompt that candidates share counts for each of them, as it would
cost without sharing: a share above 1 is sharing's. Not measured: quality, and anything on several GPUs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rewardranker.config import PromptOptions, RewardOptions, SamplingOptions, SFTOptions
from rewardranker.generation import TransformersSampler
from rewardranker.models import choose_device, load_causal_lm, use_threads
from rewardranker.policy import train_sft
from rewardranker.reward import RewardRanker, train_reward
from rewardranker.runs import write_json
from rewardranker.tasks import load_tasks
from rewardranker.types import Candidate, PreferenceGroup

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


def timed(device: str, work: Callable[[], int]) -> dict[str, float]:
    """Tokens, seconds and peak memory of a part, whose first call warms up."""
    work()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    synchronise(device)
    start = time.perf_counter()
    tokens = work()
    synchronise(device)
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {"tokens": tokens, "seconds": time.perf_counter() - start, "peak_bytes": peak}


def parts(name: str, dtype: str, device: str, groups: int, length: int) -> dict[str, dict[str, float]]:
    """Each part, with the operations it counts a parameter and token."""
    model, tokenizer = load_causal_lm(name, dtype, device)
    tasks = load_tasks("synthetic:test", groups, 0)
    body = "    total = value + 1\n" * max(1, length // 8)
    programs = [body + f"    return total * {number}\n" for number in range(16)]
    examples = [(task.prompt, program) for task in tasks for program in programs[:4]]
    preferences = [
        PreferenceGroup(
            task.task_id, task.prompt, tuple(Candidate(p, i % 2 == 0, i % 2) for i, p in enumerate(programs))
        )
        for task in tasks
    ]
    pairs = [(task.prompt, program) for task in tasks for program in programs]
    size = sum(len(tokenizer(prompt + program)["input_ids"]) for prompt, program in pairs)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = iter(Path(folder) / str(number) for number in range(100))
        limits: dict[str, Any] = {"batch_tokens": 16_384, "max_length": 1024, "save_steps": 10_000}

        def sft() -> int:
            output = train_sft(examples, model, tokenizer, SFTOptions(**limits), PLAIN, next(runs), device=device)
            return int(json.loads((output / "training.json").read_text())["figures"]["tokens"])

        def reward() -> int:
            train_reward(
                preferences, model, tokenizer, RewardOptions(**limits), PLAIN, next(runs), dtype=dtype, device=device
            )
            return size

        found["SFT"] = timed(device, sft) | {"operations": 6}
        found["reward training"] = timed(device, reward) | {"operations": 6}
        ranker = RewardRanker.from_pretrained(Path(folder) / "2", device)
        found["scoring"] = timed(device, lambda: len(ranker.predict(pairs)) and size) | {"operations": 2}
        sampling = SamplingOptions(max_new_tokens=length, batch_tasks=groups)
        sampler = TransformersSampler(model, tokenizer, sampling, PLAIN, name)
        found["sampling"] = timed(
            device, lambda: sum(len(s.token_ids) for group in sampler.sample(tasks, 16) for s in group)
        ) | {"operations": 2}
    count = sum(p.numel() for p in model.parameters())
    return {part: {**figures, "parameters": count} for part, figures in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--groups", type=int, default=32, help="tasks, of 16 programs each")
    parser.add_argument("--length", type=int, default=128, help="tokens of a program, about")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the measured products")
    parser.add_argument("--output", type=Path, default=RESULTS / "throughput.json")
    options = parser.parse_args()
    use_threads(None)
    device = choose_device(options.device)
    card = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    rate = matrix_rate(device, getattr(torch, options.dtype), options.matrix)
    found = parts(options.model, options.dtype, device, options.groups, options.length)
    print(f"{card}, {options.model}, {options.dtype}: matrix rate {rate / 1e12:.2f} Tflop/s\n")
    print("| part | tokens/s | share of the matrix rate | peak memory, GiB |\n|---|---|---|---|")
    for part, figures in found.items():
        speed = figures["tokens"] / figures["seconds"]
        figures["tokens_per_second"] = speed
        figures["share"] = speed * figures["operations"] * figures["parameters"] / rate
        print(f"| {part} | {speed:,.0f} | {figures['share']:.1%} | {figures['peak_bytes'] / 2**30:.2f} |")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, {"card": card, "model": options.model, "matrix_rate": rate, "parts": found})


if __name__ == "__main__":
    main()
