"""A tiny world for the tests of the reward model: byte tokenizer, tiny models, a preference that can be learned."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from rewardranker.config import PromptOptions, RewardOptions
from rewardranker.reward.model import head_weight, read_scores
from rewardranker.training import hidden_states
from rewardranker.types import Candidate, PreferenceGroup

PLAIN = PromptOptions()
QUICK = RewardOptions(learning_rate=3e-3, batch_tokens=512, epochs=3, save_steps=5, max_length=64, schedule="constant")


def byte_tokenizer(own_pad: bool = True) -> Any:
    """One token a byte; without `own_pad` the pad token is the end token."""
    marks = ["<eos>", "<bos>", "<pad>"]
    vocabulary = {token: i for i, token in enumerate([*marks, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>" if own_pad else "<eos>"
    )


def tiny_causal_lm(kind: str = "llama", tied: bool = True) -> Any:
    common = {"vocab_size": 259, "bos_token_id": 1, "eos_token_id": 0, "tie_word_embeddings": tied}
    layers = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    layers |= {"intermediate_size": 64, "max_position_embeddings": 64}
    config = {
        "llama": lambda: LlamaConfig(**common, **layers),
        "qwen2": lambda: Qwen2Config(**common, **layers),
        "gpt2": lambda: GPT2Config(**common, n_embd=32, n_layer=1, n_head=2, n_positions=64),
    }[kind]()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # away from the near-zero scores of an untrained model
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def saved_causal_lm(folder: Path, **options: Any) -> Path:
    tiny_causal_lm(**options).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def toy_groups(count: int, seed: int = 0) -> list[PreferenceGroup]:
    """Correct programs repeat the prompt's letter at their end, wrong ones another."""
    draw = random.Random(seed)
    groups = []
    for number in range(count):
        letter = draw.choice("abc")
        candidates = []
        for passed in [True, False, *(draw.random() < 0.5 for _ in range(draw.randrange(4)))]:
            last = letter if passed else draw.choice([other for other in "abc" if other != letter])
            middle = "".join(draw.choice("xyz") for _ in range(draw.randrange(6)))
            candidates.append(Candidate(f"{middle}{last}", passed, fraction=1.0 if passed else draw.random() / 2))
        groups.append(PreferenceGroup(f"task{number}", f"write {letter}:", tuple(candidates)))
    return groups


def places_of(rows: torch.Tensor) -> torch.Tensor:
    """Where the states of right-padded rows `[rows, tokens, ...]` are once the rows are put behind each other."""
    return torch.arange(rows.shape[0] * rows.shape[1]).view(rows.shape[:2])


def plain_scores(model: Any, rows: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor, pooling: Any) -> Any:
    """Scores of right-padded rows, each read on its own."""
    states = hidden_states(model, rows).flatten(0, 1)
    return read_scores(states, head_weight(model), places_of(rows), starts, ends, pooling)
