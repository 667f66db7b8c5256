"""Memory and GPU-hours of a recipe by formula, and the formula held against measured peaks on this machine.

    python benchmarks/memory.py                          # the paper's recipe, 1 to 64 GPUs
    python benchmarks/memory.py --validate               # + predicted against measured peaks of training steps, CPU
    python benchmarks/memory.py --validate --smollm2     # + the same with SmolLM2-135M

Formulas: weights, gradients and Adam's two moments are parameters times bytes; what the forward pass keeps for the
backward pass is counted layer by layer (`saved_numbers`); a cached token holds a key and a value in each layer. Work
is 2 floating-point operations a parameter and token forward and 4 backward (Kaplan et al. 2020, arXiv 2001.08361,
section 2.1); a decoding step reads all weights once, so it is bound by memory bandwidth until the batch is large. NOT
measured here: the share of a GPU's peak that is reached; `--train-share` and `--decode-share` are assumptions, to be
replaced by what `benchmarks/gpu_suite.sh` finds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardranker.cli.common import find_recipe
from rewardranker.config import Recipe, TrainingOptions, load_recipe

GIB = 2**30
RESULTS = Path(__file__).parent / "results" / "memory.json"
DEEPSEEK_6_7B = {"hidden": 4096, "layers": 32, "heads": 32, "kv_heads": 32, "ff": 11008, "vocabulary": 32256}
"""config.json of deepseek-ai/deepseek-coder-6.7b-instruct; its embeddings are not tied."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
DEFAULT_RECIPE = "deepseek-coder-6.7b"
H100 = {"name": "H100 80 GB", "flops": 989e12, "bandwidth": 3.35e12, "gib": 80}


@dataclass(frozen=True)
class Model:
    """Sizes of a Llama-like model."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ff: int
    vocabulary: int
    tied: bool = False

    @property
    def kv(self) -> int:
        return self.hidden // self.heads * self.kv_heads

    @property
    def layer_parameters(self) -> int:
        return 2 * self.hidden**2 + 2 * self.hidden * self.kv + 3 * self.hidden * self.ff + 2 * self.hidden

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA adapters of this rank on all linear layers."""
        sides = 2 * (2 * self.hidden) + 2 * (self.hidden + self.kv) + 3 * (self.hidden + self.ff)
        return self.layers * rank * sides

    @property
    def saved_numbers(self) -> int:
        """Numbers that a layer keeps for the backward pass, a token: of the two norms their input, its normalised form
        and their output; queries and keys before and after rotation and their rotated halves; values; the attention's
        output; of the feed-forward net the gate, its activation, the other branch and their product."""
        norms = 2 * 3 * self.hidden
        attention = 3 * self.hidden + 3 * self.kv + self.kv + self.hidden
        return norms + attention + 4 * self.ff

    def activations(self, tokens: int, size: int) -> int:
        """Bytes of a forward pass kept for the backward pass, without the head."""
        return self.layers * self.saved_numbers * tokens * size

    def head(self, tokens: int) -> int:
        """Bytes of float32 logits, their log-softmax and gradient at so many predicted tokens."""
        return 3 * 4 * self.vocabulary * tokens

    def cached_token(self, size: int) -> int:
        return 2 * self.layers * self.kv * size


def stages(model: Model, recipe: Recipe, processes: int) -> dict[str, dict[str, float]]:
    """Bytes of each stage on each of so many processes with a whole model (`single`, `ddp`)."""
    size, options = BYTES[recipe.model.dtype], recipe.model
    trained = model.adapters(options.lora_rank) if options.lora_rank else model.parameters
    weights = model.parameters * size + (4 * trained if options.lora_rank else 0)
    state = trained * (4 if options.lora_rank else size) + 8 * trained
    micro = {
        "sft": micro_batch(recipe.sft, processes),
        "reward": micro_batch(recipe.reward, processes),
        "ppo": recipe.ppo.micro_batch_tokens,
    }
    rows = min(512, recipe.ppo.tasks_per_step * recipe.ppo.samples_per_task / processes)
    drawn = rows * (recipe.ppo.max_new_tokens + 300) * model.cached_token(size)
    inference = recipe.evaluation.n * (recipe.sampling.max_new_tokens + 300) * model.cached_token(size)
    reference = 0 if options.lora_rank else model.parameters * size
    return {
        "A sft": {
            "weights": weights,
            "gradients and Adam": state,
            "activations": model.activations(micro["sft"], size) + model.head(micro["sft"] // 2),
        },
        "B, E reward": {
            "weights": weights,
            "gradients and Adam": state,
            "activations": model.activations(micro["reward"], size),
        },
        "C ppo": {
            "weights": weights,
            "other models": reference + model.parameters * size,
            "gradients and Adam": state,
            "activations": max(model.activations(micro["ppo"], size) + model.head(micro["ppo"] // 2), drawn),
        },
        "inference": {
            "weights": model.parameters * size,
            "other models": model.parameters * size,
            "activations": inference,
        },
    }


def micro_batch(options: TrainingOptions, processes: int) -> int:
    """Tokens in one pass of a process, at least one example's."""
    given = options.micro_batch_tokens
    share = max(options.batch_tokens // processes, min(options.max_length, options.batch_tokens))
    return min(given, share) if isinstance(given, int) else share


def hours(model: Model, recipe: Recipe, tasks: int, train_share: float, decode_share: float) -> dict[str, float]:
    """GPU-hours of each stage on an H100 for so many training tasks, 400 tokens of prompt and 300 of program each."""
    prompt, program, n, rounds = 400, 300, recipe.sampling.n, recipe.loop.rounds
    work, size = 2 * model.parameters, BYTES[recipe.model.dtype]
    rate = train_share * H100["flops"]
    read = model.parameters * size + recipe.sampling.batch_tasks * n * (prompt + program) * model.cached_token(size)
    token = read / (decode_share * H100["bandwidth"]) / (recipe.sampling.batch_tasks * n)
    seconds = {
        "A sft": tasks * (prompt + program) * 3 * work * recipe.sft.epochs / rate,
        "B, D sampling": rounds * tasks * n * program * token,
        "B, E reward": rounds * tasks * (prompt + n * program) * 3 * work * recipe.reward.epochs / rate,
    }
    episodes = rounds * recipe.ppo.steps * recipe.ppo.tasks_per_step * recipe.ppo.samples_per_task
    seconds["C ppo"] = episodes * (program * token + (prompt + program) * work * (2 + 1 + 3 * recipe.ppo.epochs) / rate)
    return {name: value / 3600 for name, value in seconds.items()}


LAUNCHES = (("single", 1), ("ddp", 8), ("fsdp", 8), ("fsdp", 64))


def memory_table(model: Model, recipe: Recipe) -> list[str]:
    """Markdown: GiB a GPU of each stage under each launch."""
    lines = ["| GiB a GPU | weights | other models | gradients, Adam | activations, caches |"]
    lines[0] += "".join(f" {name}, {size} |" for name, size in LAUNCHES)
    lines.append("|---|" + "---|" * (4 + len(LAUNCHES)))
    for stage, alone in stages(model, recipe, 1).items():
        shown = [alone.get(key, 0) for key in ("weights", "other models", "gradients and Adam", "activations")]
        shown += [total(stage, stages(model, recipe, size)[stage], name, size) for name, size in LAUNCHES]
        lines.append(f"| {stage} | " + " | ".join(f"{value / GIB:.1f}" for value in shown) + " |")
    return lines


def total(stage: str, parts: dict[str, float], name: str, size: int) -> float:
    """Bytes a GPU: FSDP divides weights, gradients and moments; in PPO the moments alone, at inference nothing."""
    divided: tuple[str, ...] = ()
    if name == "fsdp" and stage != "inference":
        divided = ("gradients and Adam",) if stage == "C ppo" else ("weights", "gradients and Adam")
    return sum(value / (size if part in divided else 1) for part, value in parts.items())


# --- held against measurements ------------------------------------------------------------------------------------

TINY = {
    "deep": Model(256, 12, 8, 8, 704, 2000, tied=True),
    "wide": Model(768, 4, 12, 4, 2048, 4000, tied=True),
}
SMOLLM2 = Model(576, 30, 9, 3, 1536, 49152, tied=True)


def predicted(model: Model, tokens: int) -> int:
    """Peak bytes that a float32 training step adds to the weights: Adam, gradients, activations, head."""
    return 12 * model.parameters + model.activations(tokens, 4) + model.head(tokens // 2)


def measured(name: str, tokens: int) -> int:
    """The same of a real step, in a process of its own: peak resident memory less that with the model loaded."""
    command = [sys.executable, __file__, "--step", name, str(tokens)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def step(name: str, tokens: int) -> None:
    """Two training steps; prints what they added to the peak of resident memory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    sizes = TINY.get(name, SMOLLM2)
    config = LlamaConfig(
        vocab_size=sizes.vocabulary, hidden_size=sizes.hidden, num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads, num_key_value_heads=sizes.kv_heads, intermediate_size=sizes.ff,
        max_position_embeddings=4096, tie_word_embeddings=sizes.tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    assert sum(p.numel() for p in model.parameters()) == sizes.parameters
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(sizes.vocabulary, (tokens // 256, 256))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    for _ in range(2):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, 128:]).float().flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, ids[:, 128:].flatten()).backward()
        optimizer.step()
        del hidden, logits
        optimizer.zero_grad(set_to_none=False)
    print(resident("VmHWM") - before)


def resident(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def validation(smollm2: bool) -> list[dict[str, Any]]:
    cases = [("deep", 2048), ("deep", 4096), ("wide", 2048), ("wide", 4096)]
    cases += [("smollm2-135m", 1024)] if smollm2 else []
    rows = []
    for name, tokens in cases:
        guess, found = predicted(TINY.get(name, SMOLLM2), tokens), measured(name, tokens)
        rows.append({"model": name, "tokens": tokens, "predicted": guess, "measured": found, "ratio": found / guess})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=DEFAULT_RECIPE)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--train-share", type=float, default=0.4, help="of the GPU's peak rate in training")
    parser.add_argument("--decode-share", type=float, default=0.5, help="of its memory bandwidth in decoding")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--smollm2", action="store_true")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step(arguments.step[0], int(arguments.step[1]))
        return
    recipe, model = load_recipe(find_recipe(arguments.config)), Model(**DEEPSEEK_6_7B)
    print(f"{recipe.name}: {model.parameters / 1e9:.2f} billion parameters, {recipe.model.dtype}, "
          f"LoRA rank {recipe.model.lora_rank}\n")  # fmt: skip
    print("\n".join(memory_table(model, recipe)))
    needed = hours(model, recipe, arguments.tasks, arguments.train_share, arguments.decode_share)
    total = sum(needed.values())
    print(f"\n| {H100['name']}, {arguments.tasks:,} tasks | GPU-hours | share |\n|---|---|---|")
    for name, value in {**needed, "all": total}.items():
        print(f"| {name} | {value:.1f} | {value / total:.0%} |")
    result: dict[str, Any] = {
        "recipe": recipe.name, "parameters": model.parameters, "stages": stages(model, recipe, 1), "gpu_hours": needed,
        "tasks": arguments.tasks, "train_share": arguments.train_share, "decode_share": arguments.decode_share,
    }  # fmt: skip
    if arguments.validate:
        result["validation"] = validation(arguments.smollm2)
        print(
            "\n| float32 step | tokens | predicted MiB | measured MiB | measured / predicted |\n|---|---|---|---|---|"
        )
        for row in result["validation"]:
            print(f"| {row['model']} | {row['tokens']} | {row['predicted'] / 2**20:.0f} | "
                  f"{row['measured'] / 2**20:.0f} | {row['ratio']:.2f} |")  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
