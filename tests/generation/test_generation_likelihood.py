"""Likelihoods of texts under a tiny model, against one forward pass for each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from rewardranker.config import ScratchModel
from rewardranker.errors import DataError
from rewardranker.generation import likelihood
from rewardranker.generation.likelihood import CausalLikelihood
from rewardranker.models import new_llama
from rewardranker.tokenization import train_tokenizer

PAIRS = [
    ("def f(a):\n", "    return a\n"),
    ("x", "y"),
    ("def g(a, b):\n    pass\n", ""),
    ("", "    return a + 1 and so on and on\n"),
    ("", ""),
    ("def f(a):\n", "    return a + 1\n"),
    ("def f(a):\n", "    return a\n"),
    ("def f(a):\n", "    return 1\n"),
]


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair], 300)
    options = ScratchModel(hidden_size=32, layers=2, heads=2, intermediate_size=64, vocabulary=300, max_positions=64)
    return new_llama(options, tokenizer, seed=3), tokenizer


@torch.no_grad()
def one_by_one(model: Any, tokenizer: Any, context: str, continuation: str) -> tuple[float, int]:
    before, after = (tokenizer.encode(text, add_special_tokens=False) for text in (context, continuation))
    ids = before + after
    if len(ids) < 2:
        return 0.0, 0
    logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    first = max(len(before), 1)
    return sum(float(logprobs[place - 1, ids[place]]) for place in range(first, len(ids))), len(ids) - first


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_padding_and_batches_change_nothing(loaded: tuple[Any, Any], batch_tokens: int) -> None:
    sums, counts = CausalLikelihood(*loaded, batch_tokens=batch_tokens).log_likelihoods(PAIRS)
    expected = [one_by_one(*loaded, *pair) for pair in PAIRS]
    assert sums.tolist() == pytest.approx([total for total, _ in expected], abs=1e-4)
    assert counts.tolist() == [count for _, count in expected]


def test_an_empty_continuation_is_certain(loaded: tuple[Any, Any]) -> None:
    sums, counts = CausalLikelihood(*loaded).log_likelihoods(PAIRS[2:3])
    assert (sums.tolist(), counts.tolist()) == ([0.0], [0])


def test_a_text_that_the_model_can_not_read_is_named(loaded: tuple[Any, Any]) -> None:
    with pytest.raises(DataError, match=r"text 1 has \d+ tokens and the model reads 64"):
        CausalLikelihood(*loaded).log_likelihoods([PAIRS[0], ("abcdefgh " * 30, "x")])


def test_no_chunk_of_logits_is_wider_than_its_bound(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = loaded
    scorer = CausalLikelihood(model, tokenizer)
    whole = scorer.log_likelihoods(PAIRS)[0]  # tries out the head, too
    monkeypatch.setattr(likelihood, "CHUNK_LOGITS", 2 * 300)
    sizes: list[int] = []
    handle = model.lm_head.register_forward_hook(lambda _, __, logits: sizes.append(logits.numel()))
    chunked = scorer.log_likelihoods(PAIRS)[0]
    handle.remove()
    assert chunked.tolist() == pytest.approx(whole.tolist(), abs=1e-5)
    assert max(sizes) == 2 * 300


def test_capped_logits_are_the_models_own(loaded: tuple[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    _, tokenizer = loaded
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(
        Gemma2Config(vocab_size=300, final_logit_softcapping=0.05, initializer_range=0.5, **sizes, **heads)
    ).eval()
    sums, _ = CausalLikelihood(model, tokenizer).log_likelihoods(PAIRS)
    expected = [one_by_one(model, tokenizer, *pair)[0] for pair in PAIRS]
    assert sums.tolist() == pytest.approx(expected, abs=1e-4)
    assert "caps its logits" in caplog.text
