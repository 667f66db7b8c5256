"""Losses on the scores of preference groups, all candidates of a batch in one flat vector.

`scores`, `passed` and `fraction` are `[candidates]`; `sizes` `[groups]` says how many of them belong to each group, in
order. Groups that lack a correct or a wrong candidate state no preference and do not count.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def preference_pairs(passed: torch.Tensor, sizes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All (correct, wrong) pairs within the groups.

    Returns:
        Indices of the correct and of the wrong candidate of each pair, and the pair's weight: 1 / (pairs of its group
        * groups with pairs). Every group weighs the same however many candidates it has, as one prompt's comparisons
        are one batch element in InstructGPT (Ouyang et al. 2022, section 3.5); otherwise large groups dominate and
        overfit.
    """
    group = torch.repeat_interleave(torch.arange(len(sizes), device=passed.device), sizes)
    correct, wrong = ((group[:, None] == group) & passed[:, None] & ~passed).nonzero(as_tuple=True)
    pairs = torch.bincount(group[correct], minlength=len(sizes))
    return correct, wrong, 1.0 / (pairs[group[correct]] * (pairs > 0).sum())


def bradley_terry_loss(
    scores: torch.Tensor,
    passed: torch.Tensor,
    sizes: torch.Tensor,
    fraction: torch.Tensor | None = None,
    fraction_margin: float = 0.0,
) -> torch.Tensor:
    """-log sigmoid(r+ - r- - margin), mean over the pairs of a group, then over groups.

    The negative log-likelihood of the preferences under Bradley and Terry (1952), the loss of arXiv 2504.09643
    (there without margin). The margin, `fraction_margin` for each unit of difference in the share of tests passed,
    follows Llama 2 (Touvron et al. 2023, equation 2).
    """
    correct, wrong, weight = preference_pairs(passed, sizes)
    difference = scores[correct] - scores[wrong]
    if fraction is not None and fraction_margin:
        difference = difference - fraction_margin * (fraction[correct] - fraction[wrong])
    return -(weight * F.logsigmoid(difference)).sum()


def listwise_loss(scores: torch.Tensor, passed: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy between the softmax of a group's scores and a target shared equally by its correct candidates.

    ListNet's top-one loss (Cao et al. 2007); mean over groups. For one correct candidate against k wrong ones it is
    -log(e^r+ / (e^r+ + sum e^r-)).
    """
    losses = [
        -F.log_softmax(of_group, 0)[of_group_passed].mean()
        for of_group, of_group_passed in zip(scores.split(sizes.tolist()), passed.split(sizes.tolist()), strict=True)
        if of_group_passed.any() and not of_group_passed.all()
    ]
    return torch.stack(losses).mean() if losses else scores.sum() * 0.0


def centering_penalty(scores: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Mean squared score of a group, mean over groups.

    Preferences leave a constant per task free; this fixes it near zero. Eisenstein et al. (2023, section 2) penalise
    (r+ + r-)^2 for the same purpose; the mean square needs no pairs and also bounds the spread.
    """
    return torch.stack([of_group.square().mean() for of_group in scores.split(sizes.tolist())]).mean()


def pairwise_accuracy(scores: torch.Tensor, passed: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Share of a group's (correct, wrong) pairs in the right order, equal scores counting half; mean over groups."""
    correct, wrong, weight = preference_pairs(passed, sizes)
    difference = scores[correct] - scores[wrong]
    return (weight * ((difference > 0).float() + 0.5 * (difference == 0).float())).sum()
