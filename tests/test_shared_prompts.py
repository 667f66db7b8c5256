"""States read from shared prompts are those of every program read alone, on the architectures of transformers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from rewardranker.shared_prompts import PLAIN, Sharing, hidden_states_of, plan_batches, sharing_of, single_batch
from rewardranker.training import hidden_states

PROMPTS = [[5, 6, 7, 8, 9, 10], [5, 6, 7], [40, 41, 42, 43], []]
PROGRAMS = [[20, 21, 22], [20, 21], [20, 21, 23, 24, 25], [30], [20, 21, 22], [31, 32, 33, 34, 35, 36, 37], []]
PAIRS = [(prompt, program) for prompt in PROMPTS for program in PROGRAMS if prompt]
COMMON = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4}
GEMMA = {"head_dim": 8, "num_key_value_heads": 2, "sliding_window": 24}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 24},
    "starcoder2": {"num_key_value_heads": 2},
    "gemma": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "phi": {},
    "olmo2": {},
    "stablelm": {"num_key_value_heads": 2},
    "gpt_neox": {},
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "codegen": GPT,
    "gptj": GPT,
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4},
}
PLAIN_ONLY: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 4},
    "mamba": {"state_size": 4},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 8},
}


def model_of(kind: str, **options: Any) -> Any:
    config = CONFIG_MAPPING[kind](**{**COMMON, **(ARCHITECTURES | PLAIN_ONLY)[kind], **options})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # far enough from zero that attention looks at something
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model


def alone(model: Any, prompt: list[int], program: list[int]) -> torch.Tensor:
    return hidden_states(model, torch.tensor([prompt + program]))[0, len(prompt) - 1 :]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@torch.no_grad()
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_states_are_those_of_each_program_read_alone(kind: str) -> None:
    model = model_of(kind)
    sharing = sharing_of(model)
    assert (sharing.in_line, sharing.after_prompt) == (True, True), sharing.reason
    rows, lengths = [p + c for p, c in PAIRS], [len(p) for p, _ in PAIRS]
    for way in (sharing, sharing._replace(after_prompt=False), sharing._replace(in_line=False)):
        for batch_tokens, pack_tokens in ((10_000, 512), (40, 8), (1, 1)):
            found: dict[int, torch.Tensor] = {}
            for batch in plan_batches(rows, lengths, batch_tokens, way, pack_tokens):
                states = batch.states(model)
                found |= {row: states[batch.places[i, : len(rows[row])]] for i, row in enumerate(batch.rows)}
            for row in range(len(rows)):
                expected = hidden_states(model, torch.tensor([rows[row]]))[0]
                torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", PLAIN_ONLY)
def test_what_can_not_share_is_read_plainly_and_said_so_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(kind)
    with caplog.at_level(logging.WARNING):
        found = hidden_states_of(model, *zip(*PAIRS, strict=True))
        hidden_states_of(model, *zip(*PAIRS, strict=True))
    assert [record for record in caplog.records if "does not share prompts" in record.getMessage()][1:] == []
    assert "plain padded batches" in caplog.text
    for (prompt, program), states in zip(PAIRS, found, strict=True):
        torch.testing.assert_close(states, alone(model, prompt, program), rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_each_program_read_alone() -> None:
    model = model_of("qwen2")
    draws = torch.manual_seed(0)
    weights = [torch.randn(len(program) + 1, 32, generator=draws) for _, program in PAIRS]

    def gradients(states: list[torch.Tensor]) -> list[torch.Tensor]:
        model.zero_grad()
        sum((w * s).sum() for w, s in zip(weights, states, strict=True)).backward()
        return [parameter.grad.clone() for parameter in model.base_model.parameters()]

    expected = gradients([alone(model, *pair) for pair in PAIRS])
    found = gradients(hidden_states_of(model, *zip(*PAIRS, strict=True), batch_tokens=40))
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


@torch.no_grad()
@pytest.mark.parametrize("span", [64, 15, 5])
def test_a_single_batch_keeps_the_order_of_its_rows(span: int) -> None:
    model = model_of("llama")
    rows = [prompt + program for prompt, program in PAIRS]
    batch = single_batch(rows, [len(prompt) for prompt, _ in PAIRS], sharing_of(model)._replace(span=span))
    states = batch.states(model)
    assert batch.rows == tuple(range(len(rows)))
    for row, places, length in zip(rows, batch.places, batch.lengths, strict=True):
        expected = hidden_states(model, torch.tensor([row]))[0]
        torch.testing.assert_close(states[places[:length]], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_beyond_a_sliding_window_rows_are_read_plainly() -> None:
    model = model_of("mistral", sliding_window=16)
    program = list(range(3, 23))
    pairs = [([5, 6, 7, 8], program), ([5, 6, 7, 8], program[:15]), ([5, 6, 7, 8], [1, 2])]
    for pair, states in zip(pairs, hidden_states_of(model, *zip(*pairs, strict=True)), strict=True):
        torch.testing.assert_close(states, alone(model, *pair), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_half_precision_is_tried_out_too() -> None:
    assert sharing_of(model_of("llama").bfloat16()).after_prompt
    assert not sharing_of(model_of("bloom").bfloat16()).in_line


def tokens_read(rows: list[list[int]], prompt: int, sharing: Sharing) -> int:
    return sum(batch.tokens for batch in plan_batches(rows, [prompt] * len(rows), 10_000, sharing))


def test_a_shared_beginning_is_read_once() -> None:
    rows = [PROMPTS[0] + program for program in ([20, 21, 22], [20, 21, 23], [20, 21, 23])]
    assert tokens_read(rows, 6, Sharing(True, True, 64)) == 6 + 2 + 2
    assert tokens_read(rows, 6, PLAIN) == 2 * 9
