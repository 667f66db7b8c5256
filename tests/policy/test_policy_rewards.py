import numpy as np
import ppo_world as world
import pytest
import torch

from rewardranker.config import PromptOptions
from rewardranker.errors import ConfigError, DataError
from rewardranker.policy import LogProbability, MixedReward, RewardModelReward, VerdictReward, build_reward
from rewardranker.prompts import encode_prompt
from rewardranker.types import RewardFunction, Sample, Task

TASKS = [Task("t0", "a b"), Task("t1", "c"), Task("t0", "a b")]
SAMPLES = [
    Sample("t0", 0, "c", "c", "a b c", (5, 2)),
    Sample("t1", 0, "d d", "d d", "c d d", (6, 6, 2)),
    Sample("t0", 1, "h", "h", "a b h", (10,), finish_reason="length"),
]


class LengthScorer:
    def predict(self, pairs):
        return np.asarray([100 * len(prompt) + len(completion) for prompt, completion in pairs], dtype=np.float32)


def test_the_reward_model_reads_prompt_and_completion():
    reward = RewardModelReward(LengthScorer())
    assert isinstance(reward, RewardFunction)
    assert reward(TASKS, SAMPLES).tolist() == [301, 103, 301]


@torch.no_grad()
def test_log_probability_is_the_sum_over_the_programs_tokens():
    tokenizer = world.new_tokenizer()
    model = world.new_model(tokenizer)
    found = LogProbability(model, tokenizer, PromptOptions(), batch_tokens=8)(TASKS, SAMPLES)
    for task, sample, value in zip(TASKS, SAMPLES, found, strict=True):
        prompt = encode_prompt(tokenizer, task.prompt, PromptOptions())
        every = model(input_ids=torch.tensor([[*prompt, *sample.token_ids]])).logits[0].log_softmax(-1)
        expected = sum(every[len(prompt) + t - 1, token].item() for t, token in enumerate(sample.token_ids))
        assert value == pytest.approx(expected, abs=1e-5)


def test_log_probability_of_a_policy_with_adapters_is_that_of_the_model_below_them():
    pytest.importorskip("peft")
    from rewardranker.training import with_lora

    tokenizer = world.new_tokenizer()
    model = world.new_model(tokenizer)
    expected = LogProbability(world.new_model(tokenizer), tokenizer, PromptOptions())(TASKS, SAMPLES)
    reward = LogProbability(model, tokenizer, PromptOptions())
    adapted = with_lora(model, 4, 8, "CAUSAL_LM", 0)
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    before = adapted(input_ids=torch.tensor([[1, 5]])).logits
    with torch.no_grad():
        for weight in trained:
            weight.fill_(0.3)
    assert reward(TASKS, SAMPLES).tolist() == expected.tolist()
    assert not torch.allclose(adapted(input_ids=torch.tensor([[1, 5]])).logits, before)  # they are on again
    assert all(weight.requires_grad for weight in trained)


def test_log_probability_refuses_samples_without_tokens():
    tokenizer = world.new_tokenizer()
    reward = LogProbability(world.new_model(tokenizer), tokenizer, PromptOptions())
    with pytest.raises(DataError, match="task 't0' has no token_ids"):
        reward(TASKS[:1], [Sample("t0", 0, "c", "c", "a b c")])


def test_verdicts_pay_one_or_the_share_of_tests():
    judge = world.LetterJudge("d")
    assert VerdictReward(judge)(TASKS, SAMPLES).tolist() == [0, 1, 0]
    assert VerdictReward(judge, fraction=True)(TASKS, SAMPLES).tolist() == [0.5, 1, 0.5]


def test_a_mixture_is_the_weighted_sum():
    mixed = MixedReward({world.LetterReward("c"): 2.0, world.LetterReward("d"): -0.5})
    assert mixed(TASKS, SAMPLES).tolist() == [2, -0.5, 0]


def test_the_recipes_weights_build_the_mixture():
    reward = build_reward(
        {"reward": 0.5, "verdict": 10.0, "logprob": 0.0}, scorer=LengthScorer(), judge=world.LetterJudge("d")
    )
    assert reward(TASKS, SAMPLES).tolist() == [150.5, 61.5, 150.5]
    assert isinstance(build_reward({"reward": 1.0}, scorer=LengthScorer()), RewardModelReward)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "nothing to maximise"),
        ({"reward": 0.0}, "nothing to maximise"),
        ({"reward": 1.0}, "needs a reward model"),
        ({"logprob": 1.0}, "needs the SFT model"),
        ({"verdict": 1.0}, "needs a judge"),
        ({"length": 1.0}, "unknown part; known: reward, logprob, verdict"),
    ],
)
def test_weights_that_can_not_be_met_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        build_reward(weights)
