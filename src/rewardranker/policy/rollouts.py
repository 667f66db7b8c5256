"""Programs for PPO: drawn by a function it is given, checked, rewarded; and the measurement on validation tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rewardranker import processes
from rewardranker.config import PPOOptions
from rewardranker.errors import DataError, TrainingError
from rewardranker.policy.checkpoints import PPOState
from rewardranker.types import Judge, RewardFunction, Sample, Task

STREAMS = {"tasks": 0, "rollout": 1, "minibatches": 2, "validation": 3}
"""Independent random streams, each a seed derived from `ppo.seed`, its number, and where it is used."""


class Rollout(Protocol):
    """Draws programs from the policy as it is now.

    PPO reads each sample's `token_ids` (the end token included), `finish_reason` and `program`, reward functions also
    its `completion`. The same arguments and weights must give the same samples, or resumption is not exact; and a
    sample must depend on its own task, number and seed alone, or results depend on the number of processes. Nothing
    but `temperature` may reshape the distribution (top-p is 1), because PPO takes the samples to be drawn from it.

    All processes of a launch call it at the same time, one without tasks of its own too: weights may have to be handed
    to what draws.
    """

    def __call__(
        self, model: Any, tasks: Sequence[Task], samples_per_task: int, *, seed: int, temperature: float
    ) -> list[list[Sample]]: ...


def drawn_together(
    rollout: Rollout, model: Any, tasks: Sequence[Task], n: int, *, seed: int, temperature: float
) -> list[list[Sample]]:
    """`rollout` with the tasks shared by the processes of the launch; the samples of all tasks, on every process."""
    own = processes.own_share(tasks)
    return processes.gathered(rollout(model, own, n, seed=seed, temperature=temperature))


def rewarded_together(reward: RewardFunction, owners: Sequence[Task], samples: Sequence[Sample]) -> NDArray[np.float32]:
    """`reward` with the samples shared by the processes of the launch; the rewards of all, on every process."""
    own = processes.own_share(list(zip(owners, samples, strict=True)))
    return np.concatenate(processes.gathered([reward(*map(list, zip(*own, strict=True)))] if own else []))


def passed_together(judge: Judge, owners: Sequence[Task], samples: Sequence[Sample]) -> list[bool]:
    """Whether each program passes, judged by all processes of the launch, each its share; on every process."""
    own = processes.own_share(list(zip(owners, samples, strict=True)))
    return processes.gathered([verdict.passed for verdict in judge.judge(own)] if own else [])


def derived_seed(seed: int, stream: str, *place: int) -> int:
    """A 63-bit seed that depends on all arguments, for the streams in `STREAMS`."""
    sequence = np.random.SeedSequence([seed % 2**64, STREAMS[stream], *place])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def tasks_of_step(tasks: Sequence[Task], step: int, options: PPOOptions, round: int) -> list[Task]:
    """Distinct tasks: a window of a shuffle, and a new shuffle when no full window is left."""
    windows = len(tasks) // options.tasks_per_step
    epoch, window = divmod(step - 1, windows)
    order = np.random.default_rng(derived_seed(options.seed, "tasks", round, epoch)).permutation(len(tasks))
    chosen = order[window * options.tasks_per_step : (window + 1) * options.tasks_per_step]
    return [tasks[i] for i in chosen]


def checked(groups: Sequence[Sequence[Sample]], tasks: Sequence[Task], n: int, temperature: float) -> list[Sample]:
    """All samples of a rollout, task after task.

    Raises:
        DataError: not `n` samples for each task, or drawn at another temperature or top-p.
    """
    if [len(group) for group in groups] != [n] * len(tasks):
        raise DataError(f"the rollout gave {[len(g) for g in groups]} samples, not {n} for each of {len(tasks)} tasks")
    samples = [sample for group in groups for sample in group]
    for sample in samples:
        if sample.temperature != temperature or sample.top_p != 1:
            raise DataError(
                f"the rollout drew sample {sample.sample_id} of task '{sample.task_id}' at temperature "
                f"{sample.temperature} and top-p {sample.top_p}: PPO needs {temperature} and 1"
            )
    return samples


def distinct_share(groups: Sequence[Sequence[Sample]]) -> float:
    """Share of a task's programs that differ, mean over tasks."""
    return float(np.mean([len({sample.program for sample in group}) / len(group) for group in groups]))


def reward_scale(rewards: NDArray[np.float32], samples: Sequence[Sample], options: PPOOptions) -> tuple[float, float]:
    """Mean and standard deviation that `ppo.normalize_reward` takes from the start's programs; (0, 1) without it.

    A constant reward keeps the deviation 1.
    """
    _check_finite(rewards, samples)
    if not options.normalize_reward:
        return 0.0, 1.0
    deviation = float(rewards.std(dtype=np.float64))
    return float(rewards.mean(dtype=np.float64)), deviation if deviation > 1e-8 else 1.0


def episode_scores(
    rewards: NDArray[np.float32], samples: Sequence[Sample], state: PPOState, options: PPOOptions
) -> NDArray[np.float32]:
    """Rewards as PPO sees them: normalised, clipped, less the penalty of programs that were cut.

    Raises:
        TrainingError: not one finite reward for each sample.
    """
    _check_finite(rewards, samples)
    scores = (rewards.astype(np.float64) - state.reward_mean) / state.reward_deviation
    if options.reward_clip is not None:
        scores = scores.clip(-options.reward_clip, options.reward_clip)
    cut = np.asarray([sample.finish_reason == "length" for sample in samples])
    return (scores - options.missing_end_penalty * cut).astype(np.float32)


def _check_finite(rewards: NDArray[np.float32], samples: Sequence[Sample]) -> None:
    if rewards.shape != (len(samples),) or not np.isfinite(rewards).all():
        bad = int((~np.isfinite(rewards)).sum())
        raise TrainingError(
            f"the reward function gave shape {rewards.shape} with {bad} values that are not finite for {len(samples)} "
            "programs: check the reward model (`rewardranker rank` shows its scores)"
        )


class Validation:
    """Draws and judges programs for the validation tasks, always with the same random streams."""

    def __init__(
        self, tasks: Sequence[Task], rollout: Rollout, judge: Judge, reward: RewardFunction, options: PPOOptions
    ) -> None:
        self._tasks = tasks
        self._owners = [task for task in tasks for _ in range(options.validation_samples)]
        self._rollout, self._judge, self._reward, self._options = rollout, judge, reward, options

    def draw(self, policy: Any) -> tuple[list[Sample], NDArray[np.float64], NDArray[np.float32]]:
        """Programs at temperature 1; `[tasks, samples]`, 1.0 where a program passed; and their raw rewards."""
        n = self._options.validation_samples
        seed = derived_seed(self._options.seed, "validation")  # the same in every round too: start points compare
        drawn = drawn_together(self._rollout, policy, self._tasks, n, seed=seed, temperature=1.0)
        samples = checked(drawn, self._tasks, n, 1.0)
        verdicts = passed_together(self._judge, self._owners, samples)
        passed = np.asarray(verdicts, dtype=np.float64).reshape(len(self._tasks), n)
        return samples, passed, rewarded_together(self._reward, self._owners, samples)

    def metrics(
        self,
        samples: Sequence[Sample],
        passed: NDArray[np.float64],
        rewards: NDArray[np.float32],
        state: PPOState,
    ) -> dict[str, float]:
        """The `validation/...` metrics of what `draw` gave."""
        of_task = passed.mean(axis=1)
        error = float(of_task.std(ddof=1)) / math.sqrt(len(of_task)) if len(of_task) > 1 else 0.0
        return {
            "validation/pass_rate": float(passed.mean()),
            "validation/pass_rate_se": error,
            "validation/score": float(episode_scores(rewards, samples, state, self._options).mean()),
        }
