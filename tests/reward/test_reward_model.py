"""The head, the pooled score, and the folder on disk: what is read where, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from reward_world import PLAIN, byte_tokenizer, places_of, plain_scores, saved_causal_lm, tiny_causal_lm
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rewardranker.errors import ModelError
from rewardranker.models import load_causal_lm
from rewardranker.prompts import encode_completion, encode_prompt
from rewardranker.reward import RewardRanker
from rewardranker.reward.model import RewardSettings, from_causal_lm, read_scores

PAIRS = [("write a:", "xya"), ("b", "a much longer program b"), ("write c, please:", "z"), ("p", "")]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def ranker(kind: str = "llama", pooling: Any = "last", own_pad: bool = True) -> RewardRanker:
    tokenizer = byte_tokenizer(own_pad)
    model = from_causal_lm(tiny_causal_lm(kind), tokenizer, seed=0)
    return RewardRanker(model, tokenizer, RewardSettings(pooling=pooling, max_length=64))


def token_ids(tokenizer: Any, prompt: str, completion: str) -> list[int]:
    return encode_prompt(tokenizer, prompt, PLAIN) + encode_completion(tokenizer, completion, PLAIN, end=False)


# --- pooling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["last", "sum", "mean"])
def test_pooling_is_what_a_loop_over_the_programs_tokens_gives(pooling: Any) -> None:
    hidden, head = torch.randn(3, 7, 4, generator=torch.manual_seed(0)), torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    starts, ends = [0, 2, 6], [7, 5, 7]
    found = read_scores(
        hidden.flatten(0, 1), head, places_of(hidden), torch.tensor(starts), torch.tensor(ends), pooling
    )
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        tokens = [float(head[0] @ hidden[row, t]) for t in range(start, end)]
        expected = {"last": tokens[-1], "sum": sum(tokens), "mean": sum(tokens) / len(tokens)}[pooling]
        assert float(found[row]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pooling", ["last", "sum", "mean"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_padding_is_never_read(kind: str, pooling: Any) -> None:
    model = ranker(kind).model
    rows = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 6, 7, 0, 0, 0]])
    others = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 6, 7, 77, 88, 99]])
    starts, ends = torch.tensor([2, 1]), torch.tensor([6, 3])
    with torch.no_grad():
        found = plain_scores(model, rows, starts, ends, pooling)
        assert torch.equal(found, plain_scores(model, others, starts, ends, pooling))
        alone = plain_scores(model, rows[1:, :3], starts[1:], ends[1:], pooling)
        torch.testing.assert_close(found[1:], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_the_prompts_own_tokens_do_not_count(pooling: Any) -> None:
    hidden = torch.randn(1, 5, 4, generator=torch.manual_seed(0))
    head, starts, ends = torch.ones(1, 4), torch.tensor([3]), torch.tensor([5])
    before = read_scores(hidden.flatten(0, 1), head, places_of(hidden), starts, ends, pooling)
    hidden[:, :3] += 100
    assert torch.equal(read_scores(hidden.flatten(0, 1), head, places_of(hidden), starts, ends, pooling), before)


def test_layers_are_read_in_another_precision_on_request_and_the_head_is_not(tmp_path: Path) -> None:
    whole = ranker("qwen2")
    whole.save_pretrained(tmp_path)
    half = RewardRanker.from_pretrained(tmp_path, "cpu", dtype="bfloat16")
    assert {parameter.dtype for parameter in half.model.base_model.parameters()} == {torch.bfloat16}
    assert torch.equal(half.model.score.weight, whole.model.score.weight)
    assert half.model.model.rotary_emb.inv_freq.dtype == torch.float32
    torch.testing.assert_close(
        torch.tensor(half.predict(PAIRS)), torch.tensor(whole.predict(PAIRS)), rtol=0.05, atol=0.05
    )
    assert RewardRanker.from_pretrained(tmp_path, "cpu").model.dtype == torch.float32


def test_scores_are_float32_in_a_half_precision_model(tmp_path: Path) -> None:
    causal, tokenizer = load_causal_lm(str(saved_causal_lm(tmp_path / "sft")), "bfloat16")
    model = from_causal_lm(causal, tokenizer, seed=0)
    half = RewardRanker(model, tokenizer, RewardSettings(max_length=64))
    scores = half.predict(PAIRS)
    assert scores.dtype == "float32"
    assert (torch.tensor(scores) != torch.tensor(scores).bfloat16().float()).any()
    half.save_pretrained(tmp_path / "reward")
    loaded = RewardRanker.from_pretrained(tmp_path / "reward", "cpu")
    assert loaded.model.dtype == torch.bfloat16
    assert torch.equal(loaded.model.score.weight, model.score.weight)
    assert (loaded.predict(PAIRS) == scores).all()


def test_the_head_follows_from_the_seed() -> None:
    first, same, other = (from_causal_lm(tiny_causal_lm(), byte_tokenizer(), seed).score.weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


# --- what others read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_pad", [True, False], ids=["own pad token", "pad is end token"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_transformers_alone_gives_the_same_scores(kind: str, own_pad: bool, tmp_path: Path) -> None:
    ours = ranker(kind, own_pad=own_pad)
    ours.save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    rows = [token_ids(tokenizer, *pair) for pair in PAIRS]
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    with torch.no_grad():
        batched = model(**batch).logits[:, 0]
        single = torch.stack([model(input_ids=torch.tensor([row])).logits[0, 0] for row in rows])
    expected = torch.tensor(ours.predict(PAIRS))
    assert expected.std() > 0.01
    torch.testing.assert_close(batched, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "sum", "mean"])
def test_saved_and_loaded_it_scores_the_same(pooling: Any, tmp_path: Path) -> None:
    ours = ranker(pooling=pooling)
    ours.save_pretrained(tmp_path)
    loaded = RewardRanker.from_pretrained(tmp_path, "cpu")
    assert (loaded.predict(PAIRS) == ours.predict(PAIRS)).all()
    assert loaded.options.pooling == pooling
    loaded.save_pretrained(tmp_path / "again")
    assert (RewardRanker.from_pretrained(tmp_path / "again", "cpu").predict(PAIRS) == ours.predict(PAIRS)).all()


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_transformers_refuses_a_pooling_it_does_not_know(pooling: Any, tmp_path: Path) -> None:
    ranker(pooling=pooling).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"rewardranker_{pooling}_llama"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert "RewardRanker.from_pretrained" in (tmp_path / "README.md").read_text()


def test_another_tools_reward_model_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    ours = ranker()
    ours.save_pretrained(tmp_path)
    (tmp_path / "rewardranker.json").unlink()
    foreign = RewardRanker.from_pretrained(tmp_path, "cpu")
    assert foreign.options.max_length == 64
    assert (foreign.predict(PAIRS) == ours.predict(PAIRS)).all()


# --- what is refused --------------------------------------------------------------------------------------------


def test_a_causal_language_model_is_not_a_reward_model(tmp_path: Path) -> None:
    tiny_causal_lm().save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="labels instead of 1"):
        RewardRanker.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "head", [None, torch.zeros(1, 16), torch.zeros(2, 32)], ids=["missing", "narrow", "two labels"]
)
def test_a_head_that_does_not_match_is_never_made_up(head: torch.Tensor | None, tmp_path: Path) -> None:
    ranker().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["score.weight"]
    if head is not None:
        weights["score.weight"] = head
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"missing or of another shape.*score\.weight"):
        RewardRanker.from_pretrained(tmp_path, "cpu")


def test_a_classifier_of_several_labels_is_refused(tmp_path: Path) -> None:
    ranker().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {"0": "A", "1": "B"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="2 labels instead of 1"):
        RewardRanker.from_pretrained(tmp_path, "cpu")


@pytest.mark.parametrize("name", ["config.json", "rewardranker.json"])
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    ranker().save_pretrained(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(ModelError, match=name):
        RewardRanker.from_pretrained(tmp_path, "cpu")


def test_a_run_directory_gives_its_last_rounds_model(tmp_path: Path) -> None:
    for number, seed in [(9, 1), (10, 2)]:
        tokenizer = byte_tokenizer()
        model = from_causal_lm(tiny_causal_lm(), tokenizer, seed)
        RewardRanker(model, tokenizer, RewardSettings()).save_pretrained(tmp_path / f"round-{number}" / "reward")
    expected = RewardRanker.from_pretrained(tmp_path / "round-10" / "reward", "cpu").predict(PAIRS)
    assert (RewardRanker.from_pretrained(tmp_path, "cpu").predict(PAIRS) == expected).all()
    shutil.rmtree(tmp_path / "round-9")
    shutil.rmtree(tmp_path / "round-10")
    with pytest.raises(ModelError, match="neither a reward model"):
        RewardRanker.from_pretrained(tmp_path)
