"""When PPO must stop: each error says what happened, at which step, which keys to change, and what is left on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from rewardranker.config import PPOOptions
from rewardranker.errors import TrainingError
from rewardranker.policy.checkpoints import PPOState


def guard_finite(numbers: Mapping[str, float], state: PPOState, folder: Path) -> None:
    """
    Raises:
        TrainingError: a loss or the gradient's norm is NaN or infinite; call it before the optimiser uses them.
    """
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"PPO step {state.step + 1}: not finite: {', '.join(bad)}. Lower ppo.learning_rate or "
            f"ppo.value_coefficient, or set ppo.reward_clip. {_what_is_left(state, folder)}"
        )


def guard_collapse(kl: float, entropy: float, state: PPOState, options: PPOOptions, folder: Path) -> None:
    """
    Args:
        kl: mean KL of an episode to the reference, in nats.
        entropy: mean token entropy, in nats.

    Raises:
        TrainingError: KL above `max_kl`, or entropy not above `min_entropy`.
    """
    if kl > options.max_kl:
        raise TrainingError(
            f"PPO step {state.step + 1}: the KL to the SFT generator is {kl:.3g} nats an episode, above ppo.max_kl="
            f"{options.max_kl:g}: the policy has collapsed. Raise ppo.kl (now {state.kl_coefficient:g}) or set "
            f"ppo.kl_target, lower ppo.learning_rate, or raise ppo.max_kl. {_what_is_left(state, folder)}"
        )
    if entropy <= options.min_entropy:
        raise TrainingError(
            f"PPO step {state.step + 1}: the mean token entropy is {entropy:.3g} nats, not above ppo.min_entropy="
            f"{options.min_entropy:g}: the policy writes the same programs over and over. Raise ppo.kl (now "
            f"{state.kl_coefficient:g}), lower ppo.learning_rate, or lower ppo.min_entropy. "
            f"{_what_is_left(state, folder)}"
        )


def _what_is_left(state: PPOState, folder: Path) -> str:
    return f"The best policy so far (step {state.best_step}) is in {folder / f'best-{state.best_step}'}."
