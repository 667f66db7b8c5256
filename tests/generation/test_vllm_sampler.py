"""Sampling on vLLM in this process, with a real engine and a tiny model, beside the transformers sampler."""

import importlib.util
import sys

import pytest
from generation_world import new_llama, new_tasks, new_tokenizer

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import MissingExtraError, ModelError
from rewardranker.generation import TransformersSampler
from rewardranker.generation.vllm_sampler import VLLMSampler

TASKS = new_tasks(6)
ENGINE = {"dtype": "float32", "max_model_len": 128, "max_num_seqs": 16, "enforce_eager": True}

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed (pip install 'rewardranker[vllm]')"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("vllm") / "tiny"
    tokenizer = new_tokenizer()
    wide = {"hidden_size": 128, "intermediate_size": 128}  # heads of 32: vLLM has no kernel for those of 8
    new_llama(len(tokenizer), **wide).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        patch.setenv("VLLM_NO_USAGE_STATS", "1")
        yield VLLMSampler(str(folder), options(), PromptOptions(), "tiny", engine=ENGINE)


def options(**changes):
    return SamplingOptions(**{"max_new_tokens": 24, "batch_tasks": 4, **changes})


def drawn(engine, n=4, tasks=TASKS, **changes):
    engine.options = options(**changes)
    return list(engine.sample(tasks, n))


def local(folder, model=None, **changes):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = model or AutoModelForCausalLM.from_pretrained(folder)
    return TransformersSampler(
        model, AutoTokenizer.from_pretrained(folder), options(**changes), PromptOptions(), "tiny"
    )


def test_a_missing_vllm_is_told_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match=r"vllm is not installed: pip install 'rewardranker\[vllm\]'"):
        VLLMSampler("folder", options(), PromptOptions())


@pytest.mark.slow
@needs_vllm
def test_greedy_programs_and_log_probabilities_are_those_of_transformers(engine, folder):
    ours = list(local(folder, temperature=0).sample(TASKS, 2))
    theirs = drawn(engine, 2, temperature=0)
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert (a.token_ids, a.text, a.finish_reason) == (b.token_ids, b.text, b.finish_reason)
            assert b.token_logprobs == pytest.approx(a.token_logprobs, abs=2e-3)


@pytest.mark.slow
@needs_vllm
def test_log_probabilities_are_at_temperature_1_and_without_top_p(engine, folder):
    plain = local(folder)
    for group in drawn(engine, 2, temperature=0.5, top_p=0.8):
        for sample in group:
            expected = likelihoods(plain, TASKS, sample)
            assert sample.token_logprobs == pytest.approx(expected, abs=2e-3)


def likelihoods(sampler, tasks, sample):
    import torch

    prompt = next(task.prompt for task in tasks if task.task_id == sample.task_id)
    start = [sampler.tokenizer.bos_token_id, *sampler.tokenizer.encode(prompt, add_special_tokens=False)]
    ids = torch.tensor([[*start, *sample.token_ids]])
    with torch.inference_mode():
        values = sampler.model(ids).logits[0, len(start) - 1 : -1].log_softmax(-1)
    return values.gather(-1, torch.tensor(sample.token_ids)[:, None])[:, 0].tolist()


@pytest.mark.slow
@needs_vllm
def test_samples_differ_and_depend_on_seed_task_and_number_alone(engine):
    many, few, other = drawn(engine, 6), drawn(engine, 3, TASKS[::-1]), drawn(engine, 6, seed=1)
    assert [group[:3] for group in many] == few[::-1]
    texts = [sample.token_ids for group in [*many, *other] for sample in group]
    assert len(set(texts)) > 0.9 * len(texts)


@pytest.mark.slow
@needs_vllm
def test_a_stop_text_cuts_the_text_and_keeps_its_tokens(engine):
    samples = [sample for group in drawn(engine, 8, stop=("e", "a")) for sample in group]
    cut = [sample for sample in samples if sample.finish_reason == "stop"]
    assert cut
    for sample in samples:
        assert not {"e", "a"} & set(sample.text)
        assert len(sample.token_logprobs) == len(sample.token_ids) > 0


@pytest.mark.slow
@needs_vllm
def test_a_prompt_too_long_for_the_engine_is_refused(engine):
    with pytest.raises(ModelError, match="max_model_len=128"):
        drawn(engine, max_new_tokens=120)


@pytest.mark.slow
@needs_vllm
def test_other_weights_are_taken_over(engine, folder):  # last: the engine has other weights after it
    other = new_llama(len(new_tokenizer()), seed=1, hidden_size=128, intermediate_size=128)
    engine.load_weights(other.state_dict().items())
    ours = list(local(folder, other, temperature=0).sample(TASKS, 1))
    assert [[s.token_ids for s in g] for g in drawn(engine, 1, temperature=0)] == [
        [s.token_ids for s in g] for g in ours
    ]
