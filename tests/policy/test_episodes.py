import ppo_world as world
import pytest
import torch

from rewardranker.errors import DataError, ModelError
from rewardranker.policy import logprobs as module
from rewardranker.policy.episodes import Episodes
from rewardranker.policy.logprobs import check_head
from rewardranker.policy.value_head import ValueHead

PROMPTS = [[1, 5], [1, 3, 4, 6], [1], [1, 9, 8]]
COMPLETIONS = [[4, 2], [7], [3, 3, 5, 6, 2], [10, 2, 4]]


@pytest.fixture
def model():
    return world.new_model(world.new_tokenizer())


@pytest.fixture
def episodes():
    return Episodes.build(PROMPTS, COMPLETIONS, pad_token_id=0, device="cpu")


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@torch.no_grad()
def test_scores_are_those_of_each_episode_alone_and_unpadded(model, episodes, temperature):
    rows = [2, 0, 3, 1]
    scored = episodes.score(model, None, rows, temperature)
    logprobs, entropies = [], []
    for row in rows:
        prompt, completion = PROMPTS[row], COMPLETIONS[row]
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0] / temperature
        every = logits.log_softmax(-1)
        for t, token in enumerate(completion):
            before = every[len(prompt) + t - 1]
            logprobs.append(before[token])
            entropies.append(-(before.exp() * before).sum())
    torch.testing.assert_close(scored.logprobs, torch.stack(logprobs))
    torch.testing.assert_close(scored.entropy, torch.stack(entropies))
    padded = episodes.padded(scored.logprobs, rows)
    assert padded.shape == (4, 5)
    torch.testing.assert_close(padded[1, :2], torch.stack(logprobs[5:7]))
    assert padded[1, 2:].abs().max() == 0


@torch.no_grad()
def test_values_are_read_before_the_token_they_are_of(model, episodes):
    head = ValueHead(16)
    torch.nn.init.normal_(head.output.weight)
    values = episodes.score(model, head, [3], 1.0).values
    states = model.base_model(input_ids=torch.tensor([PROMPTS[3] + COMPLETIONS[3]])).last_hidden_state[0]
    torch.testing.assert_close(values, head(states[[2, 3, 4]]))


def test_values_start_at_zero(model, episodes):
    assert episodes.score(model, ValueHead(16), [0, 1, 2, 3], 1.0).values.abs().max() == 0


def test_small_chunks_change_neither_scores_nor_gradients(model, episodes, monkeypatch):
    found = []
    for chunk in (1 << 26, 3 * 11):  # all tokens at once; three tokens at a time of eleven
        monkeypatch.setattr(module, "CHUNK_LOGITS", chunk)
        model.zero_grad()
        scored = episodes.score(model, None, [0, 1, 2, 3], 1.0)
        (scored.logprobs * torch.arange(11)).sum().backward()
        found.append((scored.logprobs.detach(), scored.entropy, model.lm_head.weight.grad.clone()))
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(whole, chunked)


@pytest.mark.parametrize("tokens", [1, 6, 7, 12, 1000])
def test_batches_keep_to_the_budget_and_hold_each_row_once(episodes, tokens):
    batches = list(episodes.batches([0, 1, 2, 3], tokens))
    assert sorted(row for batch in batches for row in batch) == [0, 1, 2, 3]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(episodes.totals[row] for row in batch) <= tokens
    assert len(batches) == {1: 4, 6: 4, 7: 4, 12: 2, 1000: 1}[tokens]


@pytest.mark.parametrize(("prompts", "completions"), [([[]], [[2]]), ([[1]], [[]])])
def test_an_episode_without_tokens_is_refused(prompts, completions):
    with pytest.raises(DataError, match="episode 0"):
        Episodes.build(prompts, completions, 0, "cpu")


def test_a_model_that_caps_its_logits_is_refused(model):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    check_head(model, 5)
    config = Gemma2Config(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8
    )
    config.intermediate_size, config.final_logit_softcapping = 16, 0.01
    with pytest.raises(ModelError, match="soft caps"):
        check_head(Gemma2ForCausalLM(config).eval(), 5)
