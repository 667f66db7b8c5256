"""Tiny models of the recipes' architectures, and tasks that they learn in seconds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rewardranker.config import PromptOptions
from rewardranker.tokenization import train_tokenizer
from rewardranker.types import Task

SPLITS = ("train", "validation", "evaluation")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "max_position_embeddings": 256}


def digit_tasks(count: int, name: str) -> list[Task]:
    """Functions that return the digit in their docstring; 4 in 10 solutions of `train` are off by one."""
    rng = random.Random(name)
    tasks = []
    for number in range(count):
        digit = rng.randint(2, 8)
        written = digit + (rng.random() < 0.4)
        place = f"{SPLITS.index(name) * 10_000 + number:05d}"
        label = "".join(chr(ord("a") + int(figure)) for figure in place)  # letters, so that one digit is left to copy
        tasks.append(
            Task(
                task_id=f"{name}/{number}",
                prompt=f'def f():\n    """Task {label}: return {digit}."""\n',
                entry_point="f",
                tests=(f"assert f() == {digit}",),
                reference=f"def f():\n    return {written}\n" if name == "train" else None,
            )
        )
    return tasks


def chat_tokenizer(tasks: list[Task], prompt: PromptOptions) -> Any:
    """A byte-level BPE with a chat template, trained on the very texts that the recipe will render."""
    questions = [f"<|user|>\n{prompt.instruction.replace('{prompt}', task.prompt)}" for task in tasks]
    answers = [f"<|assistant|>\n```python\n{task.reference}```" for task in tasks]
    tokenizer = train_tokenizer([*questions, *answers], 400)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save_tiny_model(architecture: str, tokenizer: Any, folder: Path) -> Path:
    """Random weights of an architecture, as a folder that `load_causal_lm` reads.

    Args:
        architecture: `qwen2`, with grouped-query attention and tied embeddings as Qwen2.5-Coder-0.5B has them, or
            `deepseek-coder`, a Llama with untied embeddings and linearly scaled rotary positions.
    """
    common = {
        **SIZES,
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": architecture == "qwen2",
        "num_attention_heads": 4,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any
        if architecture == "qwen2":
            model = Qwen2ForCausalLM(Qwen2Config(**common, initializer_range=0.1, num_key_value_heads=2))
        else:
            rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0}
            model = LlamaForCausalLM(LlamaConfig(**common, rope_parameters=rope))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
