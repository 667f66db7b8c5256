import math

import pytest
import torch

from rewardranker.policy.losses import KLController, clipped_policy_loss, clipped_value_loss, penalized_rewards


def test_policy_loss_is_clipped_only_where_clipping_makes_it_larger():
    ratios = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    old = torch.tensor([-1.0, -2.0, -3.0, -4.0, -5.0])
    loss, ratio = clipped_policy_loss(old + ratios.log(), old, advantages, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor([-1.2, 1.5, -0.5, 0.8, -2.2]))
    torch.testing.assert_close(ratio, ratios)


def test_a_clipped_token_has_no_gradient():
    new = torch.tensor([math.log(1.5), math.log(1.1)], requires_grad=True)
    clipped_policy_loss(new, torch.zeros(2), torch.ones(2), clip=0.2)[0].sum().backward()
    torch.testing.assert_close(new.grad, torch.tensor([0.0, -1.1]))


def test_value_loss_takes_the_worse_of_the_plain_and_the_clipped_error():
    values, old, returns = torch.tensor([1.0, 1.0, 0.1]), torch.zeros(3), torch.tensor([2.0, 0.0, 1.0])
    loss, clipped = clipped_value_loss(values, old, returns, clip=0.2)
    # (0.2 - 2)^2 / 2 = 1.62 beats (1 - 2)^2 / 2;  1 / 2 beats 0.2^2 / 2;  inside the clip both are 0.9^2 / 2
    torch.testing.assert_close(loss, torch.tensor([1.62, 0.5, 0.405]))
    assert clipped.tolist() == [True, False, False]


def test_kl_is_paid_at_every_token_and_the_score_at_the_last():
    kl = torch.tensor([[0.1, -0.2, 0.3], [0.5, 9.0, float("nan")]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    rewards = penalized_rewards(kl, torch.tensor([2.0, -1.0]), mask, coefficient=0.5)
    torch.testing.assert_close(rewards, torch.tensor([[-0.05, 0.1, 1.85], [-1.25, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (9.0, 0.1 * (1 + 0.2 * 128 / 10_000)),  # 50 % above the target: cut at 20 %
        (5.4, 0.1 * (1 - 0.1 * 128 / 10_000)),  # 10 % below
        (0.0, 0.1 * (1 - 0.2 * 128 / 10_000)),
        (6.0, 0.1),
    ],
)
def test_the_controller_moves_in_proportion_to_the_cut_error(kl, expected):
    assert KLController(target=6.0, horizon=10_000).next(0.1, kl, episodes=128) == pytest.approx(expected, abs=1e-12)


def test_without_a_target_the_coefficient_stays():
    assert KLController(target=None, horizon=10).next(0.1, 1e6, episodes=128) == 0.1
