"""The decoding loop against transformers' `generate`, full forward passes, and the distribution it should have."""

import math
import random

import numpy as np
import pytest
import torch
import transformers
from generation_world import SHAPE, new_llama

from rewardranker.errors import ModelError
from rewardranker.generation import decode, random_streams
from rewardranker.generation.decoding import draw

ENDS = {2, 3, 4, 5}
GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 192, "initializer_range": 0.3}
MODELS = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SHAPE)),
    "gpt2": lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, bos_token_id=1, eos_token_id=2)),
    "mistral with a sliding window": lambda: transformers.MistralForCausalLM(
        transformers.MistralConfig(**SHAPE, sliding_window=8)
    ),
    "gemma3, sliding and full layers": lambda: transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            **{**SHAPE, "initializer_range": 0.1},
            head_dim=8,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
}


def new_model(name):
    torch.manual_seed(0)
    return MODELS[name]().eval()


def prompts_of_unequal_length(copies=1):
    rng = random.Random(0)
    prompts = [[rng.randrange(6, 97) for _ in range(length)] for length in (3, 11, 7, 7, 1, 20)]
    return [prompt for prompt in prompts for _ in range(copies)]


def streams_for(rows, steps, seed=0):
    return random_streams(seed, ["task"] * rows, range(rows), steps)


def run(model, prompts, streams, **options):
    settings = {"max_new_tokens": 24, "eos_token_ids": ENDS, "pad_token_id": 0, **options}
    return decode(model, prompts, streams, **settings)


def chi_square_bound(cells):
    """About five standard deviations above the mean of the chi-square distribution."""
    return cells - 1 + 5 * math.sqrt(2 * (cells - 1))


def chi_square(counts, probabilities):
    """Statistic and number of cells; cells with fewer than 5 expected are joined."""
    expected = probabilities * counts.sum()
    large = expected >= 5
    counts = np.append(counts[large], counts[~large].sum())
    expected = np.append(expected[large], expected[~large].sum())
    used = expected > 0
    return float(((counts - expected)[used] ** 2 / expected[used]).sum()), int(used.sum())


@pytest.mark.parametrize("name", MODELS)
def test_greedy_batch_of_unequal_prompts_equals_generate_one_by_one(name):
    model, prompts = new_model(name), prompts_of_unequal_length(copies=2)
    for prompt, decoded in zip(prompts, run(model, prompts, None), strict=True):
        generated = model.generate(
            torch.tensor([prompt]), do_sample=False, max_new_tokens=24, eos_token_id=sorted(ENDS), pad_token_id=0
        )
        assert decoded.token_ids == generated[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", MODELS)
def test_samples_do_not_depend_on_the_rest_of_the_batch(name):
    model, prompts = new_model(name), prompts_of_unequal_length(copies=3)
    streams = streams_for(len(prompts), 24)
    ends = set(range(2, 14))
    together = run(model, prompts, streams, eos_token_ids=ends)
    alone = [run(model, [prompt], streams[i : i + 1], eos_token_ids=ends)[0] for i, prompt in enumerate(prompts)]
    assert [d.token_ids for d in together] == [d.token_ids for d in alone]
    assert len({len(d.token_ids) for d in together}) > 3  # rows left the batch at many steps


def test_cache_grows_past_its_first_room():
    model, prompts = new_model("llama"), prompts_of_unequal_length()
    decoded = run(model, prompts, None, max_new_tokens=150, eos_token_ids=set())
    for prompt, row in zip(prompts, decoded, strict=True):
        logits = model(torch.tensor([prompt + row.token_ids])).logits[0, len(prompt) - 1 : -1]
        assert row.token_ids == logits.argmax(-1).tolist()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.3, 0.8)])
def test_logprobs_are_those_of_a_full_forward_at_temperature_one(temperature, top_p):
    model, prompts = new_model("llama"), prompts_of_unequal_length(copies=2)
    decoded = run(model, prompts, streams_for(len(prompts), 24), temperature=temperature, top_p=top_p)
    for prompt, row in zip(prompts, decoded, strict=True):
        logits = model(torch.tensor([prompt + row.token_ids])).logits[0, len(prompt) - 1 : -1]
        full = logits.log_softmax(-1).gather(-1, torch.tensor(row.token_ids)[:, None])[:, 0]
        np.testing.assert_allclose(row.logprobs, full.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_first_tokens_are_distributed_as_the_softmax(temperature):
    model, prompt, rows = new_model("llama"), [7, 8, 9], 20_000
    decoded = run(model, [prompt] * rows, streams_for(rows, 1), temperature=temperature, max_new_tokens=1)
    counts = np.bincount([d.token_ids[0] for d in decoded], minlength=97)
    expected = (model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1).detach().double().numpy()
    statistic, cells = chi_square(counts, expected)
    assert statistic < chi_square_bound(cells)


def test_second_tokens_are_distributed_as_the_softmax_given_the_first():
    model, prompt, rows = new_model("llama"), [7, 8, 9], 20_000
    decoded = run(model, [prompt] * rows, streams_for(rows, 2), max_new_tokens=2, eos_token_ids=set())
    first = np.bincount([d.token_ids[0] for d in decoded]).argmax()
    counts = np.bincount([d.token_ids[1] for d in decoded if d.token_ids[0] == first], minlength=97)
    expected = model(torch.tensor([[*prompt, first]])).logits[0, -1].softmax(-1).detach().double().numpy()
    statistic, cells = chi_square(counts, expected)
    assert counts.sum() > 1000
    assert statistic < chi_square_bound(cells)


def test_top_p_draws_from_the_nucleus_in_proportion():
    model, prompt, rows = new_model("llama"), [7, 8, 9], 10_000
    probabilities = model(torch.tensor([prompt])).logits[0, -1].softmax(-1).detach().double().numpy()
    order = np.argsort(-probabilities)
    size = int((np.cumsum(probabilities[order]) < 0.6).sum()) + 1
    nucleus = np.zeros(97)
    nucleus[order[:size]] = probabilities[order[:size]]
    decoded = run(model, [prompt] * rows, streams_for(rows, 1), max_new_tokens=1, top_p=0.6)
    counts = np.bincount([d.token_ids[0] for d in decoded], minlength=97)
    assert counts[nucleus == 0].sum() == 0
    statistic, cells = chi_square(counts, nucleus / nucleus.sum())
    assert statistic < chi_square_bound(cells)


def test_smallest_and_largest_uniform_draw_possible_tokens():
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 1.0, -math.inf]]).expand(2, -1)
    uniforms = torch.tensor([0.0, 1 - 2**-24])
    assert draw(logits, uniforms, 1.0, 1.0).tolist() == [1, 3]
    assert draw(logits, uniforms, 1.0, 0.99).tolist() == [3, 1]  # most probable first
    assert draw(logits, uniforms, 1.0, 0.1).tolist() == [3, 3]


def test_rows_end_with_the_first_end_token():
    model, prompts = new_model("llama"), [[7, 8, 9]] * 200
    decoded = run(model, prompts, streams_for(200, 24))
    ended = [d for d in decoded if d.finish_reason == "stop"]
    cut = [d for d in decoded if d.finish_reason == "length"]
    assert ended
    assert cut
    assert all(d.token_ids[-1] in ENDS and not ENDS & set(d.token_ids[:-1]) for d in ended)
    assert all(len(d.token_ids) == 24 and not ENDS & set(d.token_ids) for d in cut)
    assert all(len(d.logprobs) == len(d.token_ids) for d in decoded)


def test_stop_check_sees_each_row_as_it_grows_and_ends_it():
    model, prompts = new_model("llama"), prompts_of_unequal_length()
    streams, seen = streams_for(len(prompts), 24), {}

    def stop_check(row, token_ids):
        seen.setdefault(row, []).append(list(token_ids))
        return len(token_ids) == 4 + row

    free = run(model, prompts, streams, eos_token_ids=set())
    stopped = run(model, prompts, streams, eos_token_ids=set(), stop_check=stop_check)
    for row, decoded in enumerate(stopped):
        assert decoded.token_ids == free[row].token_ids[: 4 + row]
        assert decoded.finish_reason == "stop"
        assert seen[row] == [decoded.token_ids[: i + 1] for i in range(4 + row)]


def test_dropout_is_off_inside_and_every_module_keeps_its_mode():
    torch.manual_seed(0)
    config = transformers.GPT2Config(**GPT2, bos_token_id=1, eos_token_id=2, resid_pdrop=0.5, embd_pdrop=0.5)
    model, prompts = transformers.GPT2LMHeadModel(config).eval(), prompts_of_unequal_length()
    expected = [d.token_ids for d in run(model, prompts, None)]
    model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    assert [d.token_ids for d in run(model, prompts, None)] == expected
    assert [module.training for module in model.modules()] == modes


def test_weights_can_be_trained_after_decoding():
    model = new_model("llama")
    run(model, [[7, 8]], None)
    model(torch.tensor([[7, 8, 9]])).logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_bfloat16_model_gives_float32_logprobs():
    model, prompts = new_model("llama").bfloat16(), prompts_of_unequal_length()
    decoded = run(model, prompts, streams_for(len(prompts), 24))
    for prompt, row in zip(prompts, decoded, strict=True):
        logits = model(torch.tensor([prompt + row.token_ids])).logits[0, len(prompt) - 1 : -1].float()
        full = logits.log_softmax(-1).gather(-1, torch.tensor(row.token_ids)[:, None])[:, 0]
        np.testing.assert_allclose(row.logprobs, full.detach().numpy(), atol=0.15)  # bfloat16 keeps 8 bits
        coarse = torch.tensor(row.logprobs).bfloat16().float().tolist()
        assert coarse != pytest.approx(row.logprobs, abs=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=1)
        ),
        lambda: transformers.T5ForConditionalGeneration(
            transformers.T5Config(vocab_size=97, d_model=32, num_layers=1, d_ff=32, num_heads=2)
        ),
        lambda: transformers.Qwen3NextForCausalLM(transformers.Qwen3NextConfig(**SHAPE)),
    ],
    ids=["mamba", "t5", "qwen3-next"],
)
def test_models_without_a_plain_cache_are_refused(model):
    with pytest.raises(ModelError, match=r"can't be sampled in-process|only decoder-only"):
        run(model(), [[7]], None)


def test_broken_weights_are_an_error():
    model = new_llama(97)
    model.model.norm.weight.data[0] = math.nan
    with pytest.raises(ModelError, match="NaN"):
        run(model, [[7]], streams_for(1, 24))


def test_prompts_that_do_not_fit_are_refused():
    model = new_llama(97)
    with pytest.raises(ModelError, match=r"prompt 1 has 190 tokens.* 192 positions"):
        run(model, [[7], [7] * 190], None)
    with pytest.raises(ModelError, match="prompt 0 has no tokens"):
        run(model, [[]], None)
    with pytest.raises(ValueError, match="stream of 24 numbers"):
        run(model, [[7]], streams_for(1, 23))


# --- rows that wait for a place (continuous batching) ----------------------------------------------------------------


def widths_and_rows(model):
    """Shapes [rows, tokens] of the forward passes on this model, in a list that fills."""
    seen = []
    model.register_forward_pre_hook(
        lambda _, args, named: seen.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("max_rows", [1, 3, 8, 100])
@pytest.mark.parametrize("name", MODELS)
def test_rows_that_wait_for_a_place_write_what_they_write_at_once(name, max_rows):
    model, prompts = new_model(name), prompts_of_unequal_length(copies=3)
    streams = streams_for(len(prompts), 24)
    at_once = run(model, prompts, streams)
    seen = widths_and_rows(model)
    waiting = run(model, prompts, streams, max_rows=max_rows)
    assert max(rows for rows, _ in seen) <= max_rows
    for a, b in zip(at_once, waiting, strict=True):
        assert (a.token_ids, a.finish_reason) == (b.token_ids, b.finish_reason)
        assert b.logprobs == pytest.approx(a.logprobs, abs=1e-4)


def test_places_are_filled_again_before_the_slowest_row_has_ended():
    model, prompts = new_model("llama"), [[7, 8, 9]] * 40
    streams = streams_for(40, 24)
    lengths = [len(decoded.token_ids) for decoded in run(model, prompts, streams)]
    seen = widths_and_rows(model)
    run(model, prompts, streams, max_rows=8)
    steps = sum(tokens == 1 for _, tokens in seen)
    one_after_another = sum(max(lengths[i : i + 8]) for i in range(0, 40, 8))
    assert sum(lengths) / 8 < steps < 0.8 * one_after_another


def test_columns_that_no_row_sees_are_dropped():
    model, prompts = new_model("llama"), [[7, 8, 9]] * 60
    longest = []
    model.register_forward_pre_hook(
        lambda _, args, named: longest.append(named["past_key_values"].get_seq_length()), with_kwargs=True
    )
    streams = streams_for(60, 24)
    waiting = run(model, prompts, streams, max_rows=4)
    steps = sum(length > 0 for length in longest)
    assert steps > 150
    assert max(longest) < 3 + 24 + 64 + 24
    assert [d.token_ids for d in waiting] == [d.token_ids for d in run(model, prompts, streams)]
