"""Losses on flat scores against hand-computed values and plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from rewardranker.reward.losses import (
    bradley_terry_loss,
    centering_penalty,
    listwise_loss,
    pairwise_accuracy,
    preference_pairs,
)

SCORES = torch.tensor([1.0, -0.5, 0.3, 2.0, 0.1, -1.0, 0.4, 0.4], dtype=torch.float64)
PASSED = torch.tensor([True, False, False, False, True, True, False, True])
FRACTION = torch.tensor([1.0, 0.25, 0.0, 0.75, 1.0, 1.0, 0.5, 1.0], dtype=torch.float64)
SIZES = torch.tensor([3, 3, 2])


def loop(pair_loss: object, margin: float = 0.0) -> float:
    """Mean over pairs, then over groups, written as the definition reads."""
    means, start = [], 0
    for size in SIZES.tolist():
        members = range(start, start + size)
        losses = [
            pair_loss(float(SCORES[i] - SCORES[j]), margin * float(FRACTION[i] - FRACTION[j]))  # type: ignore[operator]
            for i in members
            for j in members
            if PASSED[i] and not PASSED[j]
        ]
        means.append(sum(losses) / len(losses))
        start += size
    return sum(means) / len(means)


def test_one_pair_by_hand() -> None:
    loss = bradley_terry_loss(torch.tensor([2.0, 0.5]), torch.tensor([True, False]), torch.tensor([2]))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1.5)))


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_bradley_terry_is_the_mean_over_all_pairs_then_groups(margin: float) -> None:
    expected = loop(lambda difference, margin: math.log1p(math.exp(-(difference - margin))), margin)
    found = bradley_terry_loss(SCORES, PASSED, SIZES, FRACTION, margin)
    assert float(found) == pytest.approx(expected)


def test_huge_differences_stay_finite() -> None:
    loss = bradley_terry_loss(torch.tensor([-1e4, 1e4]), torch.tensor([True, False]), torch.tensor([2]))
    assert float(loss) == pytest.approx(2e4)


def test_pairs_stay_within_their_group() -> None:
    correct, wrong, weight = preference_pairs(PASSED, SIZES)
    assert sorted(zip(correct.tolist(), wrong.tolist(), strict=True)) == [(0, 1), (0, 2), (4, 3), (5, 3), (7, 6)]
    assert float(weight.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("loss", [bradley_terry_loss, listwise_loss, pairwise_accuracy])
def test_a_group_of_one_class_changes_nothing(loss: object) -> None:
    more = torch.cat([SCORES, torch.tensor([5.0, 6.0], dtype=torch.float64)])
    passed = torch.cat([PASSED, torch.tensor([True, True])])
    sizes = torch.cat([SIZES, torch.tensor([2])])
    assert float(loss(more, passed, sizes)) == pytest.approx(float(loss(SCORES, PASSED, SIZES)))  # type: ignore[operator]


def test_listwise_by_hand() -> None:
    scores, passed = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([True, False, True])
    total = math.e + 1 + math.e**2
    expected = -(0.5 * math.log(math.e / total) + 0.5 * math.log(math.e**2 / total))
    assert float(listwise_loss(scores, passed, torch.tensor([3]))) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [bradley_terry_loss, listwise_loss])
def test_a_constant_added_to_a_group_changes_nothing(loss: object) -> None:
    shifted = SCORES + torch.tensor([3.0] * 3 + [-4.0] * 3 + [10.0] * 2, dtype=torch.float64)
    assert float(loss(shifted, PASSED, SIZES)) == pytest.approx(float(loss(SCORES, PASSED, SIZES)))  # type: ignore[operator]


def test_centering_is_the_mean_square_of_each_group() -> None:
    scores = torch.tensor([1.0, 3.0, 2.0])
    assert float(centering_penalty(scores, torch.tensor([2, 1]))) == pytest.approx(((1 + 9) / 2 + 4) / 2)


def test_accuracy_counts_equal_scores_half() -> None:
    expected = loop(lambda difference, _: 0.5 if difference == 0 else float(difference > 0))
    assert float(pairwise_accuracy(SCORES, PASSED, SIZES)) == pytest.approx(expected)
    assert expected == pytest.approx((1 + 0 + 0.5) / 3)
