"""Tiny models and a tokenizer, made here. Run as a script it samples into a file and kills itself on the way."""

from __future__ import annotations

import os
import signal
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.generation import TransformersSampler, sample_to_file
from rewardranker.types import Task

torch.set_num_threads(1)

CORPUS = [
    "def add(a, b):\n    return a + b\n",
    "def largest(xs):\n    best = xs[0]\n    for x in xs:\n        best = max(best, x)\n    return best\n",
    "def is_even(n):\n    return n % 2 == 0\n\n\nprint(is_even(4))\n",
]

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 192,
    "initializer_range": 0.3,  # large enough for logits that differ
}


def new_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def new_llama(vocabulary: int, seed: int = 0, **changes: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    shape = {**SHAPE, "vocab_size": vocabulary, **changes}
    return LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=1, eos_token_id=2, pad_token_id=0)).eval()


def new_sampler(prompt: PromptOptions | None = None, **options) -> TransformersSampler:
    tokenizer = new_tokenizer()
    # Some more end tokens than one, so that random weights write programs of many lengths.
    ends = {tokenizer.eos_token_id, *range(100, 115)}
    settings = SamplingOptions(**{"max_new_tokens": 24, "batch_tasks": 3, **options})
    return TransformersSampler(new_llama(len(tokenizer)), tokenizer, settings, prompt or PromptOptions(), "tiny", ends)


def new_tasks(count: int) -> list[Task]:
    return [
        Task(f"task/{i}", f"def f{i}(x):\n" + "    # a comment\n" * (i % 3), entry_point=f"f{i}") for i in range(count)
    ]


class DyingSampler:
    """Passes on to another sampler, and kills this process with SIGKILL when asked for the batch after `batches`."""

    def __init__(self, sampler: TransformersSampler, batches: int) -> None:
        self._sampler, self._left = sampler, batches
        self.record_fields = sampler.record_fields

    def sample(self, tasks, n, *, round=0):
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        yield from self._sampler.sample(tasks, n, round=round)


if __name__ == "__main__":
    sample_to_file(DyingSampler(new_sampler(), int(sys.argv[2])), new_tasks(10), 4, sys.argv[1], batch_tasks=3)
