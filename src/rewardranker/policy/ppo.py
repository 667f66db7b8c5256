"""Proximal policy optimisation of a program generator against a reward, with a KL penalty to where it started.

One step: draw programs for a few tasks (ROLLOUT), reward them (SCORE), compute log-probabilities and values under the
policy and the reference (FORWARD), turn rewards into advantages, make `epochs * minibatches` optimiser steps (UPDATE).
Every `evaluate_every` steps the pass rate on validation tasks is measured, always with the same random streams; the
policy with the best one is the result, whatever its reward: a policy that learns to exploit the reward keeps raising
it while its programs get worse. When no step beats the start, the result is the start.

Sources: Schulman et al. 2017 (PPO), Ziegler et al. 2019 (token-level KL penalty, adaptive coefficient). A kill -9 at
any time loses the steps since the last measurement, and the same call ends with the same weights and metrics.
Not guaranteed: that the reported best pass rate is unbiased (it is the best of several noisy ones: measure again on
other tasks); equal bits on another machine, device, or number of threads; good training of float16 or bfloat16
weights at small learning rates, whose updates get lost in rounding: train LoRA adapters on those, which are float32.

Metrics, one JSON line a step in `metrics.jsonl` (line 0 is the start, with the measurement alone). "Episode" is one
sampled program; sums over an episode's tokens are averaged over the step's episodes. A healthy run: scores and
pass rate rise together, `objective/kl` grows slowly, `val/ratio` stays near 1.

step, episode                   updates done, episodes drawn so far
eps                             episodes per second of this step
lr                              learning rate of the policy
objective/scores                mean reward of an episode: normalised, clipped, less the penalty for a missing end
objective/kl                    log pi(y) - log pi_ref(y), an estimate of the KL divergence of an episode, in nats
objective/kl_coef               coefficient of the KL penalty in this step
objective/non_score_reward      -kl_coef * kl: what the KL penalty took
objective/rlhf_reward           scores + non_score_reward: what PPO maximises
objective/entropy               -log pi(y), an estimate of the entropy of an episode, in nats
policy/entropy_avg              exact entropy of a token's distribution, mean over tokens and updates
policy/approxkl_avg             mean of (log ratio)^2 / 2, an estimate of the KL between before and after the updates
policy/clipfrac_avg             share of tokens whose clipped loss was the larger one
policy/grad_norm                mean norm of the gradient before it was cut to `max_grad_norm`
loss/policy_avg                 clipped policy loss
loss/value_avg                  clipped value loss, without its coefficient
val/clipfrac_avg                share of tokens whose value loss was decided by clipping
val/ratio, val/ratio_var        mean and variance of new / old probability over tokens and updates
val/explained_variance          1 - var(returns - values) / var(returns) before the updates: 1 is a perfect value head
val/num_eos_tokens              episodes that ended by themselves (end token or stop text)
rollout/logprob_gap, _max       mean and largest difference of a drawn token's log p between sampler and policy, in nats
                                (absent where the sampler's are not known). Hundredths are rounding, see `offpolicy`
episode/length                  mean number of completion tokens
episode/distinct_programs       share of a task's programs in the step that differ, mean over tasks
validation/pass_rate, _se       share of programs that pass, mean over validation tasks, and its standard error
validation/score                mean reward of the same programs, in the units of objective/scores
seconds/rollout, /score, /forward, /update, /validation      wall clock of the parts
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rewardranker import processes
from rewardranker.config import LaunchOptions, PPOOptions, PromptOptions
from rewardranker.errors import DataError
from rewardranker.policy import checkpoints
from rewardranker.policy.advantages import generalized_advantages, whiten
from rewardranker.policy.checkpoints import PPOState
from rewardranker.policy.episodes import Episodes
from rewardranker.policy.guards import guard_collapse, guard_finite
from rewardranker.policy.logprobs import check_head
from rewardranker.policy.losses import KLController, penalized_rewards
from rewardranker.policy.memory import recompute_layers
from rewardranker.policy.metrics import Clock, Metrics, explained_variance, read_metrics
from rewardranker.policy.offpolicy import gap_metrics, importance_weights, sampler_logprobs
from rewardranker.policy.rollouts import (
    Rollout,
    Validation,
    checked,
    derived_seed,
    distinct_share,
    drawn_together,
    episode_scores,
    reward_scale,
    rewarded_together,
    tasks_of_step,
)
from rewardranker.policy.updates import Learner, plan_of_step
from rewardranker.policy.value_head import Critic, ValueHead
from rewardranker.progress import Silent
from rewardranker.prompts import encode_prompt
from rewardranker.shared_prompts import sharing_of
from rewardranker.training import Trackers, faults_named, with_lora
from rewardranker.types import Judge, ProgressReporter, RewardFunction, Task


@dataclass(frozen=True, slots=True)
class PPOResult:
    """What PPO ended with."""

    path: Path
    """Folder of the chosen policy: a plain transformers model and its tokenizer."""
    step: int
    """The step it was taken at; 0 is the SFT generator itself."""
    history: list[Metrics]
    """The lines of `metrics.jsonl`."""
    figures: dict[str, Any]
    """`step`, `steps` done, `pass_rate` and `sft_pass_rate` on validation tasks, `kl` at the chosen step, `improved`,
    `stopped_early`."""


def train_ppo(
    policy: Any,
    reference: Any | None,
    tokenizer: Any,
    tasks: Sequence[Task],
    validation_tasks: Sequence[Task],
    reward: RewardFunction,
    rollout: Rollout,
    judge: Judge,
    options: PPOOptions,
    prompt: PromptOptions,
    output_dir: str | Path,
    *,
    lora_rank: int = 0,
    lora_alpha: int = 32,
    progress: ProgressReporter | None = None,
    device: str = "cpu",
    round: int = 1,
    launch: LaunchOptions | None = None,
) -> PPOResult:
    """Train `policy` (in place) and return the checkpoint with the best validation pass rate.

    Args:
        policy: causal language model to train, at the SFT generator's weights.
        reference: the SFT generator, which the KL penalty holds on to. None, or the same object as `policy`: with LoRA
            the policy is read without its adapters, so that no second model is in memory; else it is copied first.
        tasks: each step draws `options.tasks_per_step` of them; nearly all are seen before any comes again.
        validation_tasks: decide which step is the result, and fix the reward's scale.
        rollout: draws the programs (`max_new_tokens` is its own).
        lora_rank: above 0, train LoRA adapters of that rank only and add them into the weights of the policies saved.
        output_dir: see `checkpoints`. The same call goes on where it stopped, or returns the finished result.
        round: round of self-training, which shifts the random streams of tasks and rollouts.
        launch: trackers; the number of processes is the launch's own.

    Raises:
        TrainingError: the policy collapsed (loss not finite, KL above `max_kl`, entropy at `min_entropy`) or the reward
            is not finite; the best policy so far stays in `output_dir`.
        DataError: fewer tasks than `tasks_per_step`, no validation tasks, or a rollout that does not fit.
        ModelError: the model's logits are not its head applied to its last hidden states.
        RunDirectoryError: `output_dir` holds a PPO with other options or data.
        MissingExtraError: LoRA without peft.
    """
    output_dir = Path(output_dir)
    progress = progress or Silent()
    processes.join(device)
    _check_tasks(tasks, validation_tasks, options)
    identity = checkpoints.run_identity(options, tasks, validation_tasks, round, lora_rank, lora_alpha)
    figures = checkpoints.finished(output_dir, identity)
    if figures is not None:
        return PPOResult(output_dir / "policy", figures["step"], read_metrics(output_dir), figures)

    if reference is None or reference is policy:
        reference = policy if lora_rank else copy.deepcopy(policy)
    policy, reference = policy.to(device).eval(), reference.to(device).eval()  # no dropout: ratios start at exactly 1
    critic: ValueHead | Critic
    if options.critic == "model":
        critic = Critic(policy, lora_rank, lora_alpha, options.seed).to(device)
    else:
        critic = ValueHead(policy.get_output_embeddings().weight.shape[1], options.seed).to(device)
    adapted = with_lora(policy, lora_rank, lora_alpha, "CAUSAL_LM", options.seed).eval() if lora_rank else policy
    check_head(policy, tokenizer.pad_token_id)
    sharing = sharing_of(policy)
    if options.gradient_checkpointing:
        recompute_layers(policy)
        if isinstance(critic, Critic):
            recompute_layers(critic.body)
        sharing = sharing._replace(after_prompt=False)
    rates = ((policy, options.learning_rate), (critic, options.value_learning_rate or options.learning_rate))
    groups = [{"params": [p for p in part.parameters() if p.requires_grad], "lr": rate} for part, rate in rates]
    optimizer = checkpoints.new_optimizer(groups)
    learner = Learner(policy, critic, reference, optimizer, options)
    controller = KLController(options.kl_target, options.kl_horizon)
    validation = Validation(validation_tasks, rollout, judge, reward, options)

    with (
        faults_named("PPO", f"ppo.micro_batch_tokens (now {options.micro_batch_tokens})", output_dir),
        Trackers(launch.report_to if launch else (), output_dir) as trackers,
        checkpoints.MetricsLog(output_dir) as log,
    ):
        state = checkpoints.load_state(output_dir, identity, policy, critic, optimizer)
        if state is None:
            # The start: its pass rate is the one to beat, and its programs fix the reward's scale.
            log.keep(0)
            clock = Clock()
            samples, passed, rewards = validation.draw(policy)
            clock.lap("validation")
            mean, deviation = reward_scale(rewards, samples, options)
            rate = float(passed.mean())
            state = PPOState(options.kl, mean, deviation, sft_pass_rate=rate, best_pass_rate=rate)
            checkpoints.save_policy(output_dir, 0, adapted, tokenizer)
            metrics = validation.metrics(samples, passed, rewards, state)
            log.append({"step": 0, "episode": 0, **metrics, **clock.seconds})
            trackers.log(0, metrics)
            checkpoints.save_state(output_dir, identity, state, policy, critic, optimizer)
        elif len(log) <= state.step:
            raise DataError(
                f"{output_dir / 'metrics.jsonl'} lacks lines of steps that were done: restore it, or start in another "
                "folder"
            )
        log.keep(state.step + 1)

        progress.start("PPO", options.steps, "steps", done=state.step)
        while state.step < options.steps and not _out_of_patience(state, options):
            step = state.step + 1
            clock = Clock()

            # ROLLOUT: the same step draws the same tasks and the same random numbers in every session.
            step_tasks = tasks_of_step(tasks, step, options, round)
            n, seed = options.samples_per_task, derived_seed(options.seed, "rollout", round, step)
            drawn = drawn_together(rollout, policy, step_tasks, n, seed=seed, temperature=options.temperature)
            samples = checked(drawn, step_tasks, n, options.temperature)
            clock.lap("rollout")

            # SCORE
            owners = [task for task in step_tasks for _ in range(n)]
            scores = episode_scores(rewarded_together(reward, owners, samples), samples, state, options)
            clock.lap("score")

            # FORWARD: log-probabilities and values before the updates, in the batches of the first epoch, because
            # only equal shapes give equal bits: the first ratios are exactly 1.
            prompts = [encode_prompt(tokenizer, task.prompt, prompt) for task in step_tasks]
            episodes = Episodes.build(
                [ids for ids in prompts for _ in range(n)],
                [s.token_ids for s in samples],
                device,
            )
            plan = plan_of_step(episodes, step, options, round, sharing)
            old, first = learner.before_updates(episodes, plan)
            drawn_at = sampler_logprobs(samples, episodes.mask, options)
            gaps = gap_metrics(old.logprobs, drawn_at, episodes.mask, step, output_dir)
            clock.lap("forward")

            # ADVANTAGES: the KL penalty at every token, the score at the last one.
            kl = old.logprobs - old.reference_logprobs
            coefficient = state.kl_coefficient
            token_rewards = penalized_rewards(kl, torch.tensor(scores, device=device), episodes.mask, coefficient)
            advantages, returns = generalized_advantages(
                token_rewards, old.values, episodes.mask, options.gamma, options.gae_lambda
            )
            if options.whiten_advantages:
                advantages = whiten(advantages, episodes.mask)

            # UPDATE
            guard = functools.partial(guard_finite, state=state, folder=output_dir)
            weights = importance_weights(old.logprobs, drawn_at, options.importance_cap)
            metrics = learner.update(episodes, plan, old, first, advantages, returns, guard, weights)
            del first  # its graph, and the memory that it holds
            clock.lap("update")

            # METRICS
            score, mean_kl = float(scores.mean()), kl.sum(dim=1).mean().item()
            guard_collapse(mean_kl, metrics["policy/entropy_avg"], state, options, output_dir)
            metrics |= gaps | {
                "eps": len(samples) / sum(clock.seconds.values()),
                "lr": options.learning_rate,
                "objective/scores": score,
                "objective/kl": mean_kl,
                "objective/kl_coef": coefficient,
                "objective/non_score_reward": -coefficient * mean_kl,
                "objective/rlhf_reward": score - coefficient * mean_kl,
                "objective/entropy": -old.logprobs.sum(dim=1).mean().item(),
                "val/explained_variance": explained_variance(old.values[episodes.mask], returns[episodes.mask]),
                "val/num_eos_tokens": sum(sample.finish_reason != "length" for sample in samples),
                "episode/length": episodes.lengths.float().mean().item(),
                "episode/distinct_programs": distinct_share(drawn),
            }
            state.step = step
            state.kl_coefficient = controller.next(coefficient, mean_kl, len(samples))

            # VALIDATION: the best pass rate decides which policy is kept; then the state is saved.
            measured = step % options.evaluate_every == 0 or step == options.steps
            if measured:
                metrics |= validation.metrics(*validation.draw(policy), state)
                clock.lap("validation")
                state.measurements_without_gain += 1
                if metrics["validation/pass_rate"] > state.best_pass_rate:
                    state.best_pass_rate, state.best_step = metrics["validation/pass_rate"], step
                    state.measurements_without_gain = 0
                    checkpoints.save_policy(output_dir, step, adapted, tokenizer)
            log.append({"step": step, "episode": step * len(samples), **metrics, **clock.seconds})
            trackers.log(step, metrics)
            if measured:
                checkpoints.save_state(output_dir, identity, state, policy, critic, optimizer)
                checkpoints.drop_other_policies(output_dir, state.best_step)
            progress.update(step, score=score, kl=mean_kl, best_pass_rate=state.best_pass_rate)

    history = read_metrics(output_dir)
    figures = {
        "step": state.best_step,
        "steps": state.step,
        "pass_rate": state.best_pass_rate,
        "sft_pass_rate": state.sft_pass_rate,
        "kl": history[state.best_step].get("objective/kl", 0.0),
        "improved": state.best_step > 0,
        "stopped_early": state.step < options.steps,
    }
    path = checkpoints.finish(output_dir, identity, state.best_step, figures)
    progress.finish(best_pass_rate=state.best_pass_rate, chosen_step=state.best_step)
    return PPOResult(path, state.best_step, history, figures)


def _check_tasks(tasks: Sequence[Task], validation_tasks: Sequence[Task], options: PPOOptions) -> None:
    if len(tasks) < options.tasks_per_step:
        raise DataError(
            f"ppo.tasks_per_step is {options.tasks_per_step} but there are {len(tasks)} training tasks: lower it, or "
            "give more tasks"
        )
    if not validation_tasks:
        raise DataError("PPO needs validation tasks: they choose the checkpoint (see tasks.validation)")


def _out_of_patience(state: PPOState, options: PPOOptions) -> bool:
    return options.patience is not None and state.measurements_without_gain >= options.patience
