"""Training on preference groups: what it learns, each candidate once, what it refuses, resumption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from reward_world import PLAIN, QUICK, byte_tokenizer, saved_causal_lm, tiny_causal_lm, toy_groups

from rewardranker.errors import DataError, ModelError, RunDirectoryError, TrainingError
from rewardranker.reward import RewardRanker, reward_figures, train_reward
from rewardranker.reward.data import collate, encode_groups, states_of
from rewardranker.reward.model import from_causal_lm, read_scores
from rewardranker.reward.trainer import _RewardTrainer, preference_loss
from rewardranker.shared_prompts import PLAIN as PLAIN_SHARING
from rewardranker.shared_prompts import Sharing, sharing_of
from rewardranker.types import Candidate, PreferenceGroup


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def train(folder: Path, options: Any = QUICK, groups: Any = None, model: Any = None, **more: Any) -> RewardRanker:
    groups, model = groups or toy_groups(40), model or tiny_causal_lm()
    return train_reward(groups, model, byte_tokenizer(), options, PLAIN, folder, device="cpu", **more)


def changed(**values: Any) -> Any:
    return QUICK.model_copy(update=values)


# --- learning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"pooling": "sum"},
        {"pooling": "mean"},
        {"loss": "listwise"},
        {"centering": 0.01, "fraction_margin": 0.5, "lm_weight": 0.1},
    ],
    ids=str,
)
def test_it_learns_a_preference_that_can_be_learned(change: dict[str, Any], tmp_path: Path) -> None:
    held_out = toy_groups(30, seed=1)
    ranker = train(tmp_path / "reward", changed(**change), toy_groups(150), validation_groups=held_out)
    figures = reward_figures(tmp_path / "reward")
    assert figures["validation_accuracy_before"] < 0.8
    assert figures["validation_accuracy"] > 0.95
    best = [ranker.rank(group.prompt, [c.completion for c in group.candidates])[0] for group in held_out]
    right = [group.candidates[entry["corpus_id"]].passed for group, entry in zip(held_out, best, strict=True)]
    assert sum(right) / len(right) > 0.9


def test_centering_brings_the_scores_to_zero(tmp_path: Path) -> None:
    train(tmp_path / "free")
    train(tmp_path / "centred", changed(centering=1.0))
    free, centred = (reward_figures(tmp_path / name) for name in ("free", "centred"))
    assert abs(centred["score_correct"] + centred["score_wrong"]) < abs(free["score_correct"] + free["score_wrong"])


@pytest.mark.parametrize("tied", [True, False])
def test_the_language_model_loss_keeps_correct_programs_likely(tied: bool, tmp_path: Path) -> None:
    """The regulariser's gradient reaches the layers: weights differ from a training without it."""
    plain = train(tmp_path / "plain", changed(epochs=0.5), model=tiny_causal_lm(tied=tied))
    regularised = train(tmp_path / "lm", changed(epochs=0.5, lm_weight=1.0), model=tiny_causal_lm(tied=tied))
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(plain.model.state_dict()[name], regularised.model.state_dict()[name])
    assert "lm_head.weight" not in regularised.model.state_dict()


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("change", [{}, {"pooling": "mean", "lm_weight": 0.1, "fraction_margin": 0.5}], ids=str)
def test_a_group_read_once_has_the_loss_and_gradient_of_all_its_pairs(kind: str, change: dict[str, Any]) -> None:
    """Every pair on its own, both programs read alone, against one pass in which all of them share their prompts."""
    groups, options = toy_groups(3), changed(**change)
    tokenizer = byte_tokenizer()
    model = from_causal_lm(tiny_causal_lm(kind), tokenizer, seed=0)
    trainer = SimpleNamespace(options=options, lm_head=None)

    def loss_and_gradients(groups: list[PreferenceGroup], sharing: Sharing, weights: list[float]) -> Any:
        model.zero_grad()
        total = 0.0
        for group, weight in zip(groups, weights, strict=True):
            batch = collate(encode_groups([group], tokenizer, PLAIN, 64, False), sharing)
            states = states_of(model, batch)
            places, starts, ends = batch["places"], batch["starts"], batch["ends"]
            scores = read_scores(states, model.score.weight, places, starts, ends, options.pooling)
            loss = preference_loss(scores, batch, options)
            if options.lm_weight:
                tokens = sum(len(row) for row in encoded_correct(group))
                loss = loss + _RewardTrainer._lm_loss(trainer, model, states, batch) / tokens
            (weight * loss).backward()
            total += weight * float(loss.detach())
        return total, [parameter.grad.clone() for parameter in model.parameters()]

    def encoded_correct(group: PreferenceGroup) -> list[list[int]]:
        return [tokenizer.encode(candidate.completion) for candidate in group.correct]

    pairs, weights = [], []
    for group in groups:
        for correct in group.correct:
            for wrong in group.wrong:
                pairs.append(dataclasses.replace(group, candidates=(correct, wrong)))
                weights.append(1 / group.pairs / len(groups))
    if options.lm_weight:  # its mean is over tokens, the preferences' over pairs: compare whole groups read alone
        pairs, weights = groups, [1 / len(groups)] * len(groups)
    total, expected = loss_and_gradients(pairs, PLAIN_SHARING, weights)
    shared = sharing_of(model)
    assert shared.in_line
    once, gradients = loss_and_gradients(groups, shared, [1 / len(groups)] * len(groups))
    assert once == pytest.approx(total, rel=1e-5)
    for found, wanted in zip(gradients, expected, strict=True):
        assert (found - wanted).norm() <= 1e-4 * wanted.norm() + 1e-7


def test_a_batch_reads_a_prompt_once_for_all_candidates_of_its_group() -> None:
    candidates = tuple(Candidate(text, text == "xa", 0.0) for text in ("xa", "xb", "yb"))
    encoded = encode_groups([PreferenceGroup("t", "write a:", candidates)], byte_tokenizer(), PLAIN, 64, False)
    model = from_causal_lm(tiny_causal_lm(), byte_tokenizer(), seed=0)
    assert collate(encoded, sharing_of(model))["input_ids"].numel() == len("<write a:") + len("xab") + len("yb")


def test_lora_is_merged_and_the_head_is_trained(tmp_path: Path) -> None:
    held_out = toy_groups(30, seed=1)
    options = changed(learning_rate=1e-2)
    ranker = train(tmp_path / "reward", options, toy_groups(150), validation_groups=held_out, lora_rank=8)
    start = from_causal_lm(tiny_causal_lm(), byte_tokenizer(), options.seed).state_dict()
    trained = ranker.model.state_dict()
    assert trained.keys() == start.keys()
    assert torch.equal(trained["model.embed_tokens.weight"], start["model.embed_tokens.weight"])
    assert not torch.equal(trained["score.weight"], start["score.weight"])
    assert reward_figures(tmp_path / "reward")["validation_accuracy"] > 0.9


# --- where it starts --------------------------------------------------------------------------------------------


def test_a_folder_and_the_same_model_in_memory_train_alike(tmp_path: Path) -> None:
    folder = saved_causal_lm(tmp_path / "sft")
    model = tiny_causal_lm()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    in_memory = train(tmp_path / "a", model=model)
    from_folder = train_reward(toy_groups(40), str(folder), None, QUICK, PLAIN, tmp_path / "b", device="cpu")
    pairs = [("write a:", "xa"), ("write b:", "yc")]
    assert (in_memory.predict(pairs) == from_folder.predict(pairs)).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("pooling", ["last", "sum"])
def test_a_reward_model_is_trained_further(pooling: str, tmp_path: Path) -> None:
    held_out = toy_groups(30, seed=1)
    train(tmp_path / "first", changed(pooling=pooling), toy_groups(150))
    train(tmp_path / "next", changed(pooling=pooling), model=str(tmp_path / "first"), validation_groups=held_out)
    assert reward_figures(tmp_path / "next")["validation_accuracy_before"] > 0.95


def test_a_reward_model_of_another_pooling_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "first", changed(epochs=0.1))
    with pytest.raises(ModelError, match=r"pools 'last' but reward\.pooling is 'sum'"):
        train(tmp_path / "next", changed(pooling="sum"), model=tmp_path / "first")


# --- data -------------------------------------------------------------------------------------------------------


def test_groups_without_both_classes_are_counted_and_left_out(tmp_path: Path) -> None:
    one_class = PreferenceGroup("t", "p", (Candidate("x", True, 1.0), Candidate("y", True, 1.0)))
    train(tmp_path / "reward", groups=[*toy_groups(10), one_class])
    figures = reward_figures(tmp_path / "reward")
    assert (figures["groups"], figures["groups_left_out"]) == (10, 1)
    with pytest.raises(TrainingError, match="none of 1 groups has both"):
        train(tmp_path / "none", groups=[one_class])


def test_a_group_above_the_batch_size_is_trained_whole(tmp_path: Path) -> None:
    train(tmp_path / "reward", changed(batch_tokens=1, epochs=1), toy_groups(5))
    assert reward_figures(tmp_path / "reward")["steps"] == 5


def test_an_empty_program_is_a_candidate_like_others(tmp_path: Path) -> None:
    group = PreferenceGroup("t", "p", (Candidate("x", True, 1.0), Candidate("", False, 0.0)))
    for pooling in ("last", "sum", "mean"):
        ranker = train(tmp_path / pooling, changed(pooling=pooling, epochs=20, save_steps=99), [group])
        assert ranker.rank("p", ["", "x"])[0]["corpus_id"] == 1


def test_an_overlong_candidate_is_named(tmp_path: Path) -> None:
    group = PreferenceGroup("HumanEval/3", "p", (Candidate("x", True, 1.0), Candidate("y" * 99, False, 0.0)))
    with pytest.raises(DataError, match=r"task HumanEval/3, candidate 1 .*limit of 64"):
        train(tmp_path / "reward", groups=[group])


def test_truncation_cuts_the_start_of_the_prompt() -> None:
    group = PreferenceGroup("t", "0123456789", (Candidate("abc", True, 1.0), Candidate("", False, 0.0)))
    (encoded,) = encode_groups([group], byte_tokenizer(), PLAIN, 8, True)
    decoded = [byte_tokenizer().decode(row) for row in encoded.rows]
    assert decoded == ["<bos>6789abc", "<bos>3456789"]
    assert encoded.starts == (5, 7)


# --- resumption -------------------------------------------------------------------------------------------------


class StopsAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, *_: Any, **__: Any) -> None: ...

    def update(self, done: int, **_: Any) -> None:
        if done == self.step:
            raise KeyboardInterrupt

    def finish(self, **_: Any) -> None: ...


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_an_interrupted_training_ends_with_the_same_model(lora_rank: int, tmp_path: Path) -> None:
    """With GPT-2's dropout, whose random state must be restored."""

    def run(name: str, progress: Any = None) -> RewardRanker:
        return train(tmp_path / name, model=tiny_causal_lm("gpt2"), lora_rank=lora_rank, progress=progress)

    undisturbed = run("undisturbed")
    assert reward_figures(tmp_path / "undisturbed")["steps"] > 8
    with pytest.raises(KeyboardInterrupt):
        run("interrupted", StopsAt(8))
    resumed = run("interrupted")
    for name, tensor in undisturbed.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert reward_figures(tmp_path / "interrupted") == reward_figures(tmp_path / "undisturbed")


def test_a_finished_training_is_loaded_and_another_refused(tmp_path: Path) -> None:
    first = train(tmp_path / "reward")
    again = train(tmp_path / "reward", progress=StopsAt(1))
    assert torch.equal(first.model.score.weight, again.model.score.weight)
    with pytest.raises(RunDirectoryError, match="other data or with other options"):
        train(tmp_path / "reward", changed(seed=1))
