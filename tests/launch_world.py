"""Small trainings of every kind, in one process or as one process of several: run as a script, it is one of several."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

# ruff: noqa: E402
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("", "reward", "policy")]

import ppo_world
import reward_world
import torch

from rewardranker import processes
from rewardranker.config import LaunchOptions, PPOOptions, PromptOptions, Recipe, SamplingOptions, SFTOptions
from rewardranker.generation import TransformersSampler, sample_together
from rewardranker.policy import train_ppo, train_sft
from rewardranker.reward import train_reward
from rewardranker.rollouts import Rollouts
from rewardranker.training import zero_shards
from rewardranker.training.trainer import _Report
from rewardranker.types import Sample, Task, Verdict

PLAIN = PromptOptions()
DEVICE = "cpu"
LOGGED = LaunchOptions(log_steps=1)
EXAMPLES = [(f"def f{i % 10}(x):\n", f"    return x + {i % 10}\n" * (1 + i % 3)) for i in range(40)]
TASKS = [Task(f"t{i}", f"def f{i}(x):\n") for i in range(7)]


class LaterJudge:
    """Fails what it is asked first and passes all later programs, so that PPO's result is a trained policy."""

    isolation = "none"

    def __init__(self) -> None:
        self._passes = False

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        passed, self._passes = self._passes, True
        for task, sample in items:
            outcome = "passed" if passed else "wrong answer"
            yield Verdict(task.task_id, sample.sample_id, passed, outcome, "", passed + 1, 2)

    def close(self) -> None: ...


def sft(folder: Path, micro_batch_tokens: int | str | None = None, epochs: float = 1) -> Path:
    options = SFTOptions(
        learning_rate=3e-3,
        batch_tokens=300,
        save_steps=3,
        max_length=64,
        micro_batch_tokens=micro_batch_tokens,
        epochs=epochs,
    )
    model, tokenizer = reward_world.tiny_causal_lm(), reward_world.byte_tokenizer()
    return train_sft(EXAMPLES, model, tokenizer, options, PLAIN, folder, device=DEVICE, launch=LOGGED)


def reward(folder: Path, micro_batch_tokens: int | None = None) -> None:
    options = reward_world.QUICK.model_copy(
        update={
            "epochs": 2,
            "lm_weight": 0.3,
            "centering": 0.1,
            "save_steps": 3,
            "micro_batch_tokens": micro_batch_tokens,
        }
    )
    groups, model = reward_world.toy_groups(14), reward_world.tiny_causal_lm()
    train_reward(groups, model, reward_world.byte_tokenizer(), options, PLAIN, folder, device=DEVICE, launch=LOGGED)


def ppo(folder: Path, critic: Literal["head", "model"] = "head") -> None:
    tokenizer = reward_world.byte_tokenizer()
    options = PPOOptions(
        steps=3, tasks_per_step=5, samples_per_task=3, evaluate_every=2, validation_samples=2, learning_rate=1e-3,
        max_new_tokens=12, micro_batch_tokens=120, critic=critic,
    )  # fmt: skip
    recipe = Recipe(ppo=options)
    with Rollouts(recipe).of_round(recipe, tokenizer, 1) as rollout:
        train_ppo(
            reward_world.tiny_causal_lm(), None, tokenizer, TASKS, TASKS[:3], ppo_world.LetterReward("a"),
            rollout, LaterJudge(), options, PLAIN, folder, launch=LOGGED, device=DEVICE,
        )  # fmt: skip


def sample(path: Path) -> None:
    sampler = TransformersSampler(
        reward_world.tiny_causal_lm(), reward_world.byte_tokenizer(), SamplingOptions(max_new_tokens=8), PLAIN, "tiny"
    )
    sample_together(sampler, TASKS, 3, path, batch_tasks=2)


def everything(folder: Path) -> None:
    torch.set_num_threads(1)
    sft(folder / "sft")
    sft(folder / "sft-micro", micro_batch_tokens=60)
    reward(folder / "reward", micro_batch_tokens=150)
    ppo(folder / "ppo")
    ppo(folder / "ppo-critic", critic="model")
    sample(folder / "samples.jsonl")


def interrupted(training: str, moment: str, folder: Path) -> None:
    """A training that dies as `kill -9` ends it: `saved`, after its first checkpoint (of step 3), or `loading`, in the
    middle of that; or that fails unless it goes on from there, `loaded`."""
    torch.set_num_threads(1)
    on_save, on_train_begin, set_part = _Report.on_save, _Report.on_train_begin, zero_shards._set
    parts = iter(range(10))

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def save(*arguments: Any, **named: Any) -> None:
        on_save(*arguments, **named)
        die()

    def load(*arguments: Any) -> None:
        set_part(*arguments)
        if next(parts) == 9:
            die()

    def begin(report: Any, options: Any, state: Any, *arguments: Any, **named: Any) -> None:
        assert state.global_step == 3
        on_train_begin(report, options, state, *arguments, **named)

    if moment == "saved":
        _Report.on_save = save
    elif moment == "loading":
        zero_shards._set = load
    else:
        _Report.on_train_begin = begin
    {"sft": sft, "reward": reward}[training](folder)


def launch(folder: Path, size: int) -> None:
    """`everything` in `folder` on so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(size):
        own = {**shared, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": 1}
        environment = os.environ | {name: str(value) for name, value in own.items()}
        command = [sys.executable, __file__, str(folder)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        for process in started:
            errors = process.communicate(timeout=240)[1]
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    processes.join("cpu")
    if len(sys.argv) == 2:
        everything(Path(sys.argv[1]))
    else:
        interrupted(sys.argv[2], sys.argv[3], Path(sys.argv[1]))
    processes.leave()
