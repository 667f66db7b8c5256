"""`rewardranker ppo`: tasks + a reward -> a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rewardranker.cli import common, plan

SECTIONS = ("model", "prompt", "tasks", "sampling", "judge", "ppo")


@click.command(short_help="Train a policy against a reward model: -> DIR/ppo/policy")
@common.recipe_options
@click.option("--model", required=True, help="The SFT generator: where the policy starts, and what the KL holds on to.")
@click.option("--reward", help="The reward model; needed where the recipe's ppo.reward names it.")
@click.option("--round", "round_", type=click.IntRange(min=1), default=1, help="Shifts the random streams.")
@common.output_dir_option
def command(
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    model: str,
    reward: str | None,
    round_: int,
    output_dir: Path,
) -> None:
    """Train by PPO on tasks.train; the checkpoint with the best pass rate on tasks.validation is the policy."""
    from rewardranker.tasks import load_tasks

    recipe = common.load(config, overrides)
    options = recipe.tasks
    if recipe.ppo.reward.get("reward") and reward is None:
        raise click.UsageError("ppo.reward names the reward model: give --reward, or other weights")
    if dry_run:
        sets = {
            "tasks.train": (options.train, options.train_limit),
            "tasks.validation": (options.validation, options.validation_limit),
        }
        lines = [
            f"would train {model} against {dict(recipe.ppo.reward)} into {output_dir / 'ppo'}",
            *plan.task_sets(options.seed, sets),
            *plan.models({"--model": model, "--reward": reward}),
        ]
        plan.show(recipe, lines, (*SECTIONS, "launch"))
        return
    tasks = load_tasks(options.train, options.train_limit, options.seed)
    validation = load_tasks(options.validation, options.validation_limit, options.seed)
    from rewardranker.execution import open_judge
    from rewardranker.models import load_causal_lm
    from rewardranker.policy import build_reward, train_ppo
    from rewardranker.reward import RewardRanker
    from rewardranker.rollouts import Rollouts
    from rewardranker.selftraining import judge_workers, own_progress
    from rewardranker.shared_runs import SharedRunDirectory

    device = common.start(recipe)
    rollouts = Rollouts(recipe)
    rollouts.check()

    inputs = common.training_options(recipe, SECTIONS, model=model, reward=reward, round=round_)
    with (
        SharedRunDirectory(output_dir, "ppo", inputs) as run,
        open_judge(recipe.judge, judge_workers(recipe.launch)) as judge,
    ):

        def work() -> dict[str, Any]:
            policy, tokenizer = load_causal_lm(model, recipe.model.dtype, device)
            # LoRA adapters are switched off where the SFT generator is asked: no second model in memory.
            reference = policy if recipe.model.lora_rank else load_causal_lm(model, recipe.model.dtype, device)[0]
            maximised = build_reward(
                recipe.ppo.reward,
                scorer=RewardRanker.from_pretrained(reward, device) if reward else None,
                reference=reference,
                tokenizer=tokenizer,
                prompt=recipe.prompt,
                judge=judge,
            )
            with rollouts.of_round(recipe, tokenizer, round_) as rollout:
                result = train_ppo(
                    policy,
                    reference,
                    tokenizer,
                    tasks,
                    validation,
                    maximised,
                    rollout,
                    judge,
                    recipe.ppo,
                    recipe.prompt,
                    output_dir / "ppo",
                    lora_rank=recipe.model.lora_rank,
                    lora_alpha=recipe.model.lora_alpha,
                    progress=own_progress(),
                    launch=recipe.launch,
                    device=device,
                    round=round_,
                )
            return dict(result.figures)

        common.show_figures(run.stage("ppo", work, together=True), output_dir / "ppo" / "policy")
