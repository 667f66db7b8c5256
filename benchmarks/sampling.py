"""Samples per second beside transformers' own decoding and vLLM, on the same model and tasks.

    python benchmarks/sampling.py                                       # a few minutes on two cores
    python benchmarks/sampling.py --vllm-python ~/vllm/bin/python       # also vLLM, from an environment of its own

Each way of sampling runs in a process of its own with the same threads, after a warm-up that is not counted: the first
tasks of `--task-set`, n samples of each at temperature 0.8, ended by the model's end token or the limit. Tokens per
second count the new tokens. `--repeat` measures the ways in turn and takes each one's median. A table is printed and
written with all figures to `results/sampling.json`. Where other work runs on the machine, believe the tokens per CPU
second.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.generation import CHAT_INSTRUCTION, TransformersSampler
from rewardranker.prompts import encode_prompt
from rewardranker.runs import write_records
from rewardranker.tasks import load_tasks

RESULTS = Path(__file__).parent / "results" / "sampling.json"
TEMPERATURE = 0.8
WAYS = {
    "ours": "rewardranker, all rows at once",
    "ours-quarters": "rewardranker, a quarter of the tasks after another",
    "ours-refill": "rewardranker, a quarter of the rows at a time, refilled",
    "generate": "transformers `generate`",
    "generate-batch": "transformers `generate_batch` (continuous batching)",
    "vllm": "vLLM in process",
}
Lengths = list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--task-set", default="humaneval")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=[way for way in WAYS if way != "vllm"])
    parser.add_argument("--vllm-python", help="an interpreter that has vllm and this package's requirements")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one way, loading included")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--one", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)), flush=True)
        return
    ways = [*options.ways, *["vllm"] * (options.vllm_python is not None and "vllm" not in options.ways)]
    with tempfile.TemporaryDirectory() as folder:
        save_model(options.model, options.dtype, folder)
        write_records(f"{folder}/tasks.jsonl", load_tasks(options.task_set, options.tasks))
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(options.repeat):
            for way in ways:
                runs[way].append(in_a_process(way, folder, options))
                print(f"{WAYS[way]}: {runs[way][-1]}", file=sys.stderr, flush=True)
    report(options, runs)


def save_model(name: str, dtype: str, folder: str) -> None:
    """As safetensors, which every way of sampling reads."""
    from rewardranker.models import load_causal_lm

    model, tokenizer = load_causal_lm(name, dtype)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # of the GGUF file that the weights were read from
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def in_a_process(way: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    python = options.vllm_python or sys.executable if way == "vllm" else sys.executable
    passed = ("dtype", "device", "tasks", "n", "max_new_tokens", "threads")
    arguments = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in passed]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(options.threads),
        "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
        "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2"),
    }
    command = [python, __file__, "--one", way, "--folder", folder, *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=options.timeout
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done in {options.timeout:g} s"}
    if done.returncode != 0:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    tasks = load_tasks(f"{options.folder}/tasks.jsonl")
    run = {"vllm": vllm}.get(options.one, transformers)(options, tasks)
    run(2)
    on_gpu = torch.cuda.is_available() and options.device != "cpu"
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
    if on_gpu and options.one != "vllm":  # whose engine is another process
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start, cpu = time.perf_counter(), cpu_seconds()
    lengths = run(options.max_new_tokens)
    seconds, used = time.perf_counter() - start, cpu_seconds() - cpu
    assert len(lengths) == len(tasks) * options.n
    figures = {
        "tokens": sum(lengths),
        "mean_length": statistics.mean(lengths),
        "at_limit": sum(length == options.max_new_tokens for length in lengths) / len(lengths),
        "seconds": seconds,
        "cpu_seconds": used,
        "tokens_per_second": sum(lengths) / seconds,
        "tokens_per_cpu_second": sum(lengths) / used,
        "peak_memory_mb": peak_memory_mb(),
    }
    if on_gpu and options.one != "vllm":
        figures["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return figures


def cpu_seconds() -> float:
    mine, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime


def peak_memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def sampling(options: argparse.Namespace, limit: int) -> SamplingOptions:
    rows = options.tasks * options.n
    return SamplingOptions(
        temperature=TEMPERATURE,
        max_new_tokens=limit,
        batch_tasks=max(1, options.tasks // 4) if options.one == "ours-quarters" else options.tasks,
        max_rows=max(1, rows // 4) if options.one == "ours-refill" else None,
    )


def prompt_of(tokenizer: Any) -> PromptOptions:
    return PromptOptions(style="chat", instruction=CHAT_INSTRUCTION) if tokenizer.chat_template else PromptOptions()


def vllm(options: argparse.Namespace, tasks: list[Any]) -> Callable[[int], Lengths]:
    from rewardranker.generation.vllm_sampler import VLLMSampler

    engine = {"max_num_seqs": options.tasks * options.n}
    plain = PromptOptions()
    sampler = VLLMSampler(options.folder, sampling(options, 2), plain, dtype=options.dtype, engine=engine)
    sampler.prompt = prompt_of(sampler.tokenizer)

    def run(limit: int) -> Lengths:
        sampler.options = sampling(options, limit)
        return [len(sample.token_ids) for group in sampler.sample(tasks, options.n) for sample in group]

    return run


def transformers(options: argparse.Namespace, tasks: list[Any]) -> Callable[[int], Lengths]:
    from rewardranker.models import choose_device, load_causal_lm

    model, tokenizer = load_causal_lm(options.folder, options.dtype, choose_device(options.device))
    prompt = prompt_of(tokenizer)
    prompts = [encode_prompt(tokenizer, task.prompt, prompt) for task in tasks]
    ends = sorted(TransformersSampler(model, tokenizer, sampling(options, 2), prompt, "m").end_token_ids)

    def ours(limit: int) -> Lengths:
        sampler = TransformersSampler(model, tokenizer, sampling(options, limit), prompt, "m")
        return [len(sample.token_ids) for group in sampler.sample(tasks, options.n) for sample in group]

    def written(tokens: list[int]) -> int:
        return next((place + 1 for place, token in enumerate(tokens) if token in ends), len(tokens))

    drawing = {"do_sample": True, "temperature": TEMPERATURE, "top_p": 1.0, "top_k": 0}

    def generate(limit: int) -> Lengths:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts]).to(model.device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]).to(model.device)
        torch.manual_seed(0)
        rows = model.generate(
            input_ids=ids,
            attention_mask=mask,
            num_return_sequences=options.n,
            max_new_tokens=limit,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            **drawing,
        )
        return [written(row[width:].tolist()) for row in rows]

    def generate_batch(limit: int) -> Lengths:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        settings = GenerationConfig(
            max_new_tokens=limit, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, **drawing
        )
        torch.manual_seed(0)
        inputs = [prompt for prompt in prompts for _ in range(options.n)]
        pages = -(-(max(map(len, prompts)) + options.max_new_tokens) // 256) * len(inputs) + 8
        # On a CPU it would otherwise take most of the memory for its cache.
        own = {} if model.device.type == "cuda" else {"num_blocks": pages, "max_batch_tokens": 2048}
        batching = ContinuousBatchingConfig(**own)
        outputs = model.generate_batch(inputs, generation_config=settings, continuous_batching_config=batching)
        faults = [output.error for output in outputs.values() if output.error]
        if faults or len(outputs) != len(inputs):
            raise RuntimeError(f"{len(outputs)} of {len(inputs)} requests came back: {faults[:1]}")
        return [written(list(output.generated_tokens)) for output in outputs.values()]

    with torch.inference_mode():
        return {"generate": generate, "generate-batch": generate_batch}.get(options.one, ours)


def report(options: argparse.Namespace, runs: dict[str, list[dict[str, Any]]]) -> None:
    rows = {}
    for way, found in runs.items():
        good = [run for run in found if "error" not in run]
        rows[way] = (
            {name: statistics.median(run[name] for run in good) for name in good[0]}
            if good
            else {"error": found[-1]["error"]}
        )
    base = rows.get("generate", {}).get("tokens_per_second")
    base_cpu = rows.get("generate", {}).get("tokens_per_cpu_second")
    on_gpu = torch.cuda.is_available() and options.device != "cpu"
    memory, kind = ("peak_gpu_memory_mb", "peak GPU memory") if on_gpu else ("peak_memory_mb", "peak memory")
    print(f"| | tokens/s | beside `generate` | tokens per CPU second | beside `generate` | {kind} (MB) |")
    print("|---|---|---|---|---|---|")
    for way, row in rows.items():
        if "error" in row:
            print(f"| {WAYS[way]} | failed: {row['error'][:120]} | | | | |")
            continue
        ratio = f"{row['tokens_per_second'] / base:.2f}" if base else ""
        ratio_cpu = f"{row['tokens_per_cpu_second'] / base_cpu:.2f}" if base_cpu else ""
        speed, speed_cpu = row["tokens_per_second"], row["tokens_per_cpu_second"]
        peak = f"{row[memory]:.0f}" if memory in row else ""
        print(f"| {WAYS[way]} | {speed:.0f} | {ratio} | {speed_cpu:.0f} | {ratio_cpu} | {peak} |")
    settings = {
        name: getattr(options, name)
        for name in ("model", "dtype", "task_set", "tasks", "n", "max_new_tokens", "threads")
    }
    device = torch.cuda.get_device_name() if on_gpu else f"{os.cpu_count()} CPU cores"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"settings": settings, "device": device, "torch": torch.__version__, "median": rows, "runs": runs}
    options.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\nwritten: {options.output}", file=sys.stderr)
    if any("error" in row for row in rows.values()):
        raise SystemExit("not every way could be measured: see the table")


if __name__ == "__main__":
    main()
