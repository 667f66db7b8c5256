import ppo_world as world
import pytest
import torch

from rewardranker.errors import DataError, ModelError
from rewardranker.policy import logprobs as module
from rewardranker.policy.episodes import Episodes
from rewardranker.policy.logprobs import check_head
from rewardranker.policy.value_head import ValueHead
from rewardranker.shared_prompts import PLAIN, sharing_of

PROMPTS = [[1, 5], [1, 3, 4, 6], [1], [1, 9, 8], [1, 5], [1, 5]]
COMPLETIONS = [[4, 2], [7], [3, 3, 5, 6, 2], [10, 2, 4], [4, 7, 2], [4, 2]]


@pytest.fixture
def model():
    return world.new_model(world.new_tokenizer())


@pytest.fixture
def episodes():
    return Episodes.build(PROMPTS, COMPLETIONS, device="cpu")


def one_batch(episodes, model, rows):
    [batch] = episodes.batches(rows, 1000, sharing_of(model))
    return batch


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@torch.no_grad()
def test_scores_are_those_of_each_episode_alone(model, episodes, temperature):
    """Whatever the batches share: the prompt of the first and the last, and what their completions begin with."""
    found = []
    for batch in episodes.batches([2, 0, 4, 3, 1, 5], 1000, sharing_of(model)):
        found += batch.rows
        scored = batch.score(model, None, temperature)
        logprobs, entropies = [], []
        for row in batch.rows:
            prompt, completion = PROMPTS[row], COMPLETIONS[row]
            logits = model(input_ids=torch.tensor([prompt + completion])).logits[0] / temperature
            every = logits.log_softmax(-1)
            for t, token in enumerate(completion):
                before = every[len(prompt) + t - 1]
                logprobs.append(before[token])
                entropies.append(-(before.exp() * before).sum())
        torch.testing.assert_close(scored.logprobs, torch.stack(logprobs))
        torch.testing.assert_close(scored.entropy, torch.stack(entropies))
    assert sorted(found) == [0, 1, 2, 3, 4, 5]


@torch.no_grad()
def test_numbers_of_a_batch_come_padded(episodes):
    padded = episodes.padded(torch.tensor([1.0, 2.0, 3.0]), [0, 1])
    assert padded.tolist() == [[1, 2, 0, 0, 0], [3, 0, 0, 0, 0]]


def test_what_episodes_share_is_read_once_with_the_gradient_of_reading_each_alone(model, episodes):
    gradients, read = [], []
    for sharing in (PLAIN, sharing_of(model)):
        model.zero_grad()
        batches = episodes.batches([0, 1, 2, 3, 4, 5], 1000, sharing)
        for batch in batches:
            scored = batch.score(model, None, 1.0)
            weights = torch.tensor([1.0 + 3 * row for row in batch.rows for _ in COMPLETIONS[row]])
            (scored.logprobs * weights).sum().backward()
        read.append(sum(int((batch.shared.input_ids != 0).sum()) for batch in batches))
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    every = sum(map(len, PROMPTS + COMPLETIONS))
    assert read == [every - len([1, 5, 4, 2]), every - len([1, 5, 4, 2]) - len([1, 5, 4])]  # equal episodes; beginnings
    [shared] = [batch for batch in batches if 0 in batch.rows]
    assert len(shared.choice_of) == len([4, 2, 4, 7, 2, 4, 2])
    assert len(shared.chosen) == len([4, 2, 7, 2])  # the head is asked once for a choice that rows have in common
    assert gradients[0].norm() > 1
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() < 1e-5


@torch.no_grad()
def test_values_are_read_before_the_token_they_are_of(model, episodes):
    head = ValueHead(16)
    torch.nn.init.normal_(head.output.weight)
    values = one_batch(episodes, model, [3]).score(model, head, 1.0).values
    states = model.base_model(input_ids=torch.tensor([PROMPTS[3] + COMPLETIONS[3]])).last_hidden_state[0]
    torch.testing.assert_close(values, head(states[[2, 3, 4]]))


def test_values_start_at_zero(model, episodes):
    assert one_batch(episodes, model, [0, 4, 5]).score(model, ValueHead(16), 1.0).values.abs().max() == 0


def test_small_chunks_change_neither_scores_nor_gradients(model, episodes, monkeypatch):
    found = []
    for chunk in (1 << 26, 3 * 11):  # all tokens at once; three tokens at a time of eleven
        monkeypatch.setattr(module, "CHUNK_LOGITS", chunk)
        model.zero_grad()
        scored = one_batch(episodes, model, [0, 4, 5]).score(model, None, 1.0)
        (scored.logprobs * torch.arange(len(scored.logprobs))).sum().backward()
        found.append((scored.logprobs.detach(), scored.entropy, model.lm_head.weight.grad.clone()))
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(whole, chunked)


@pytest.mark.parametrize("tokens", [1, 6, 7, 12, 1000])
def test_batches_keep_to_the_budget_and_hold_each_row_once(episodes, model, tokens):
    batches = episodes.batches([0, 1, 2, 3, 4, 5], tokens, sharing_of(model))
    assert sorted(row for batch in batches for row in batch.rows) == [0, 1, 2, 3, 4, 5]
    for batch in batches:
        assert batch.shared.tokens <= tokens or len(batch.shared.input_ids) == 1


def test_rows_of_a_prompt_come_together(episodes):
    assert episodes.rows_by_prompt([3, 0, 1, 5, 4]) == [[3], [0, 5, 4], [1]]


@pytest.mark.parametrize(("prompts", "completions"), [([[]], [[2]]), ([[1]], [[]])])
def test_an_episode_without_tokens_is_refused(prompts, completions):
    with pytest.raises(DataError, match="episode 0"):
        Episodes.build(prompts, completions, "cpu")


def test_a_model_that_caps_its_logits_is_refused(model):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    check_head(model, 5)
    config = Gemma2Config(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=8
    )
    config.intermediate_size, config.final_logit_softcapping = 16, 0.01
    with pytest.raises(ModelError, match="soft caps"):
        check_head(Gemma2ForCausalLM(config).eval(), 5)
