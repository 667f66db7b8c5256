"""Planned batches, length limits, checkpoints: what every training stands on."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rewardranker.config import TrainingOptions
from rewardranker.errors import DataError, ModelError, RunDirectoryError
from rewardranker.runs import write_json
from rewardranker.training import (
    MARKER,
    batch_plan,
    fit_tokens,
    full_disk_named,
    is_finished,
    last_checkpoint,
    save_finished,
    token_batches,
    training_device,
    with_lora,
)

LENGTHS = [5 + (i * 37) % 60 for i in range(500)]


def padded_size(batch: list[int], lengths: list[int], rows: list[int]) -> int:
    return sum(rows[i] for i in batch) * max(lengths[i] for i in batch)


def test_a_pass_uses_every_item_once() -> None:
    batches = token_batches(LENGTHS, 512, seed=3, epoch=0)
    assert sorted(i for batch in batches for i in batch) == list(range(len(LENGTHS)))


@pytest.mark.parametrize("rows", [[1] * len(LENGTHS), [1 + i % 7 for i in range(len(LENGTHS))]])
def test_no_batch_holds_more_tokens_than_asked_padding_included(rows: list[int]) -> None:
    for batch in token_batches(LENGTHS, 600, seed=0, epoch=0, rows=rows):
        assert padded_size(batch, LENGTHS, rows) <= 600


def test_an_item_above_the_bound_is_a_batch_alone() -> None:
    batches = token_batches([10, 900, 10], 100, seed=0, epoch=0)
    assert [1] in batches
    assert sorted(i for batch in batches for i in batch) == [0, 1, 2]


def test_batches_hold_like_lengths_so_that_little_is_padding() -> None:
    batches = token_batches(LENGTHS, 512, seed=0, epoch=0)
    padded = sum(padded_size(batch, LENGTHS, [1] * len(LENGTHS)) for batch in batches)
    assert padded < 1.1 * sum(LENGTHS)


def test_batches_follow_from_seed_and_epoch() -> None:
    first = token_batches(LENGTHS, 512, seed=1, epoch=0)
    assert first == token_batches(LENGTHS, 512, seed=1, epoch=0)
    assert first != token_batches(LENGTHS, 512, seed=1, epoch=1)
    assert first != token_batches(LENGTHS, 512, seed=2, epoch=0)


def test_lengths_are_mixed_over_the_steps() -> None:
    lengths = [10] * 1000 + [40] * 1000
    means = [sum(lengths[i] for i in batch) / len(batch) for batch in token_batches(lengths, 400, seed=0, epoch=0)]
    half = len(means) // 2
    assert abs(sum(m < 25 for m in means[:half]) - sum(m < 25 for m in means[half:])) < half / 2


def test_a_fractional_epoch_keeps_that_share_of_its_batches() -> None:
    one = len(token_batches(LENGTHS, 512, 0, 0))
    plan = batch_plan(LENGTHS, TrainingOptions(epochs=1.3, batch_tokens=512))
    again = len(token_batches(LENGTHS, 512, 0, 1))
    assert len(plan) == one + round(0.3 * again)
    assert plan[:one] == token_batches(LENGTHS, 512, 0, 0)


def test_an_overlong_example_is_refused_with_place_length_and_limit() -> None:
    with pytest.raises(DataError, match=r"example 7 has 9 tokens.*limit of 8.*truncate_prompt"):
        fit_tokens([1, 2, 3, 4, 5], [6, 7, 8, 9], 8, False, None, "example 7")


def test_truncation_cuts_the_start_of_the_prompt_only() -> None:
    assert fit_tokens([1, 2, 3, 4, 5], [6, 7, 8], 6, True, None, "") == ([3, 4, 5], [6, 7, 8])


def test_truncation_keeps_the_token_that_begins_a_sequence() -> None:
    assert fit_tokens([0, 2, 3, 4, 5], [6, 7, 8], 6, True, 0, "") == ([0, 4, 5], [6, 7, 8])


def test_a_program_that_does_not_fit_is_never_cut() -> None:
    with pytest.raises(DataError, match="program alone has 4 tokens"):
        fit_tokens([1], [2, 3, 4, 5], 4, True, None, "")


def test_resumption_takes_the_last_complete_checkpoint_and_deletes_others(tmp_path: Path) -> None:
    for step, complete in [(9, True), (10, True), (20, False)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
        if complete:
            write_json(folder / MARKER, {})
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-20").exists()


def test_a_finished_training_is_recognised_and_another_refused(tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert not is_finished(out, "a")
    save_finished(out, lambda folder: (folder / "weights").write_text("x") and None, "a", {"loss": 1.0})
    assert is_finished(out, "a")
    with pytest.raises(RunDirectoryError, match="other data or with other options"):
        is_finished(out, "b")


def test_checkpoints_of_another_training_are_refused(tmp_path: Path) -> None:
    assert not is_finished(tmp_path / "model", "a")
    assert not is_finished(tmp_path / "model", "a")
    with pytest.raises(RunDirectoryError, match="other data or with other options"):
        is_finished(tmp_path / "model", "b")


def test_a_folder_of_other_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunDirectoryError, match="not from a training"):
        is_finished(tmp_path, "a")


def test_errors_that_are_not_about_the_disk_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), full_disk_named(tmp_path):
        raise RuntimeError("shapes differ")


def test_training_on_a_device_that_trainer_would_not_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewardranker.training.models.choose_device", lambda device: device)
    with pytest.raises(ModelError, match="CUDA_VISIBLE_DEVICES"):
        training_device("cuda:1")


def test_lora_adapters_are_float32_and_drawn_from_the_seed_alone() -> None:
    """Whatever the process drew before: a training begun again after a kill starts with the same adapters."""
    pytest.importorskip("peft")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)).bfloat16()

    def adapters(seed: int) -> torch.Tensor:
        torch.rand(3)
        adapted = with_lora(copy.deepcopy(model), 4, 8, "CAUSAL_LM", seed)
        trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        assert {parameter.dtype for parameter in trained} == {torch.float32}
        return torch.cat([parameter.detach().flatten() for parameter in trained])

    assert adapters(1).equal(adapters(1))
    assert not adapters(1).equal(adapters(2))
