import torch

from rewardranker.policy.advantages import generalized_advantages, whiten

LONG_AND_SHORT = torch.tensor([[True, True, True], [True, False, False]])
NAN = float("nan")


def test_advantages_are_those_computed_by_hand_and_padding_never_enters():
    rewards = torch.tensor([[1.0, 0.0, 2.0], [3.0, 99.0, NAN]])
    values = torch.tensor([[0.5, 1.0, -0.5], [1.0, 77.0, NAN]])
    advantages, returns = generalized_advantages(rewards, values, LONG_AND_SHORT, gamma=0.9, gae_lambda=0.8)
    # delta = 1 + 0.9 * 1 - 0.5 = 1.4;  0 - 0.9 * 0.5 - 1 = -1.45;  2 + 0.5 = 2.5
    # A_2 = 2.5;  A_1 = -1.45 + 0.72 * 2.5 = 0.35;  A_0 = 1.4 + 0.72 * 0.35 = 1.652
    torch.testing.assert_close(advantages, torch.tensor([[1.652, 0.35, 2.5], [2.0, 0.0, 0.0]]))
    torch.testing.assert_close(returns, torch.tensor([[2.152, 1.35, 2.0], [3.0, 0.0, 0.0]]))


def test_lambda_one_gives_the_discounted_return():
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[10.0, -3.0, 5.0]])
    _, returns = generalized_advantages(rewards, values, torch.ones(1, 3, dtype=torch.bool), gamma=0.5, gae_lambda=1.0)
    torch.testing.assert_close(returns, torch.tensor([[1 + 1 + 1.0, 2 + 2.0, 4.0]]))


def test_whitening_counts_real_tokens_only():
    values = torch.tensor([[1.0, 3.0, 5.0], [3.0, NAN, 1e9]])
    # mean 3, population variance (4 + 0 + 4 + 0) / 4 = 2
    expected = torch.tensor([[-(2**0.5), 0.0, 2**0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(whiten(values, LONG_AND_SHORT), expected)


def test_whitening_equal_values_gives_zeros():
    assert whiten(torch.full((2, 3), 7.0), LONG_AND_SHORT).abs().max() == 0
