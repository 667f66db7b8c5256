"""Sampling from a real server: llama.cpp with SmolLM2-135M-Instruct, over HTTP."""

import pytest
import torch
from llama_world import NEEDS, llama_server

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import ConfigError, ModelServerError
from rewardranker.generation import CHAT_INSTRUCTION, OpenAISampler
from rewardranker.types import Task

TASKS = [
    Task("add", 'def add(a, b):\n    """The sum of a and b."""\n', entry_point="add", stop=("\n\n", "\ndef")),
    Task("even", 'def even(n):\n    """Whether n is even."""\n', entry_point="even", stop=("\n\n", "\ndef")),
]
CHAT = PromptOptions(style="chat", instruction=CHAT_INSTRUCTION)

pytestmark = NEEDS


@pytest.fixture(scope="module")
def url():
    with llama_server() as address:
        yield address


def drawn(url, n, prompt=None, model="smollm2", tasks=TASKS, **options):
    settings = SamplingOptions(**{"max_new_tokens": 8, "temperature": 0.8, **options})
    sampler = OpenAISampler(url, model, settings, prompt or PromptOptions(), timeout=60, max_concurrency=2, retries=1)
    return list(sampler.sample(tasks, n))


def test_more_samples_than_the_server_has_slots(url):
    groups = drawn(url, 3, temperature=1.5)  # 2 slots: llama.cpp refuses n=3, so these are single requests
    assert [[(s.task_id, s.sample_id) for s in group] for group in groups] == [
        [(task.task_id, i) for i in range(3)] for task in TASKS
    ]
    for group in groups:
        assert len({s.text for s in group}) > 1
        for s in group:
            assert 0 < len(s.token_ids) == len(s.token_logprobs) <= 8
            assert all(value <= 0 for value in s.token_logprobs)
            assert not any(stop in s.text for stop in ("\n\n", "\ndef"))


def test_log_probabilities_do_not_depend_on_the_temperature(url):
    (cool,), (hot,) = (drawn(url, 1, tasks=TASKS[:1], temperature=t, max_new_tokens=1)[0] for t in (0.01, 0.5))
    greedy = drawn(url, 1, tasks=TASKS[:1], temperature=0, max_new_tokens=1)[0][0]
    assert cool.token_ids == greedy.token_ids
    assert cool.token_logprobs == pytest.approx(greedy.token_logprobs, abs=1e-3)
    assert hot.token_logprobs[0] < 0


def test_the_chat_model_answers_with_a_program(url):
    ((sample,),) = drawn(url, 1, CHAT, tasks=TASKS[:1], temperature=0, max_new_tokens=48)
    assert "def add(a, b):" in sample.completion
    assert "```" not in sample.completion


def test_a_prompt_too_long_for_the_server_is_told(url):
    long = Task("long", "x = 1\n" * 900)
    with pytest.raises(ModelServerError, match=r"task 'long'.*status 400.*context size"):
        drawn(url, 1, tasks=[long])


def test_an_unknown_model_is_answered_with_the_servers_own(url):
    with pytest.raises(ConfigError, match="no model 'gpt-9'; it has: smollm2"):
        drawn(url, 1, model="gpt-9")


@pytest.mark.slow
def test_log_probabilities_are_those_of_transformers(url):
    from rewardranker.models import load_causal_lm

    model, tokenizer = load_causal_lm("smollm2-135m")
    for task, (sample,) in zip(TASKS, drawn(url, 1, max_new_tokens=24), strict=True):
        start = tokenizer.encode(task.prompt, add_special_tokens=False)
        with torch.inference_mode():
            logits = model(torch.tensor([[*start, *sample.token_ids]])).logits[0, len(start) - 1 : -1]
        values = logits.log_softmax(-1).gather(-1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        difference = (values - torch.tensor(sample.token_logprobs)).abs()
        assert difference.mean() < 0.1  # llama.cpp computes with weights of 4 bits and activations of 8
