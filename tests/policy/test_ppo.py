import json
import math

import numpy as np
import ppo_world as world
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewardranker.config import PromptOptions
from rewardranker.errors import DataError, RunDirectoryError, TrainingError
from rewardranker.policy.checkpoints import PPOState
from rewardranker.policy.episodes import Episodes
from rewardranker.policy.rollouts import derived_seed, episode_scores, reward_scale, tasks_of_step
from rewardranker.policy.updates import Learner, Minibatch, TokenNumbers, plan_of_step
from rewardranker.policy.value_head import Critic, ValueHead
from rewardranker.prompts import encode_prompt
from rewardranker.shared_prompts import sharing_of
from rewardranker.types import Sample, Verdict

STATE = PPOState(kl_coefficient=0.1, reward_mean=2.0, reward_deviation=4.0, sft_pass_rate=0.0, best_pass_rate=0.0)


def weights_of(path):
    return AutoModelForCausalLM.from_pretrained(path).state_dict()


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class ScriptedJudge:
    """Passes all programs of the i-th measurement with the i-th of the given rates."""

    isolation = "none"

    def __init__(self, rates):
        self.rates = iter(rates)

    def judge(self, items):
        items = list(items)
        passing = round(next(self.rates) * len(items))
        for number, (task, sample) in enumerate(items):
            yield Verdict(task.task_id, sample.sample_id, number < passing, "passed" if number < passing else "timeout")

    def close(self): ...


# --- learning ---------------------------------------------------------------------------------------------------


def test_a_rewarded_token_is_found(tmp_path):
    result = world.run(tmp_path, world.options(steps=30, tasks_per_step=8, evaluate_every=10, kl=0.01))
    assert result.figures["sft_pass_rate"] < 0.5
    assert result.figures["pass_rate"] > 0.95
    assert np.mean([line["val/num_eos_tokens"] for line in result.history[-3:]]) > 24  # of 32: cut ones are penalised


def test_one_token_policies_converge_to_the_kl_optimum(tmp_path):
    """Reward r, KL coefficient beta: the best policy is pi_ref exp(r / beta), normalised."""
    tokenizer = world.new_tokenizer()
    beta, rewards = 0.5, np.linspace(-0.6, 0.6, len(tokenizer), dtype=np.float32)
    policy, reference = world.new_model(tokenizer, seed=3), world.new_model(tokenizer, seed=3)
    task = world.new_tasks(1)
    options = world.options(
        steps=30, tasks_per_step=1, samples_per_task=768, max_new_tokens=1, evaluate_every=30, minibatches=2,
        kl=beta, normalize_reward=False, missing_end_penalty=0.0,
    )  # fmt: skip

    def reward(tasks, samples):
        return rewards[[sample.token_ids[0] for sample in samples]]

    world.run(tmp_path, options, model=policy, reference=reference, tasks=task, validation=task, reward=reward)
    prompt = torch.tensor([encode_prompt(tokenizer, task[0].prompt, PromptOptions())])
    with torch.no_grad():
        start = reference(input_ids=prompt).logits[0, -1].softmax(-1)
        found = policy(input_ids=prompt).logits[0, -1].softmax(-1)

    def distance_to_optimum(coefficient):
        """Total variation between the policy found and the best one at this KL coefficient."""
        best = start * torch.tensor(rewards / coefficient).exp()
        return (found - best / best.sum()).abs().sum().item() / 2

    assert distance_to_optimum(1e9) > 0.2  # the start itself: there was something to learn
    assert distance_to_optimum(beta) < 0.05
    assert distance_to_optimum(2 * beta) > 0.1
    assert distance_to_optimum(beta / 2) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lora_finds_the_rewarded_token_and_leaves_a_plain_model(tmp_path, dtype):
    """On bfloat16 weights too: the adapters are float32."""
    pytest.importorskip("peft")
    model, reference = (world.new_model(world.new_tokenizer()).to(dtype) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = world.options(steps=30, tasks_per_step=8, evaluate_every=10, kl=0.01, learning_rate=1e-2)
    result = world.run(tmp_path, options, model=model, reference=reference, lora_rank=8, lora_alpha=16)
    assert result.figures["sft_pass_rate"] < 0.5
    assert result.figures["pass_rate"] > 0.9
    saved = AutoModelForCausalLM.from_pretrained(result.path)
    assert saved.dtype == dtype
    assert saved.state_dict().keys() == before.keys()
    changed = {name for name, tensor in saved.state_dict().items() if not tensor.equal(before[name])}
    assert changed == {name for name in before if "_proj" in name}  # embeddings, norms and head stand still
    # What was saved writes what was measured.
    samples = world.Roller(world.new_tokenizer())(saved, world.new_tasks(4, "v"), 16, seed=1, temperature=1.0)
    assert np.mean(["c" in s.completion.split() for group in samples for s in group]) > 0.85


# --- exactness ----------------------------------------------------------------------------------------------------


def test_the_first_ratios_are_exactly_one(tmp_path):
    options = world.options(steps=1, epochs=1, minibatches=1, micro_batch_tokens=20)
    line = world.run(tmp_path, options).history[1]
    assert line["val/ratio"] == 1.0
    assert line["val/ratio_var"] == 0.0
    assert line["policy/approxkl_avg"] == 0.0
    assert line["objective/kl"] == 0.0  # policy and reference are equal before the first update


@pytest.mark.parametrize("critic", ["head", "model"])
@pytest.mark.parametrize("micro_batch_tokens", [1, 24])
def test_micro_batches_add_up_to_the_gradient_of_the_whole(micro_batch_tokens, critic):
    tokenizer = world.new_tokenizer()
    samples = [
        s
        for group in world.Roller(tokenizer)(world.new_model(tokenizer), world.new_tasks(4), 3, seed=0, temperature=1.0)
        for s in group
    ]
    prompts = [encode_prompt(tokenizer, task.prompt, PromptOptions()) for task in world.new_tasks(4) for _ in range(3)]
    episodes = Episodes.build(prompts, [s.token_ids for s in samples], "cpu")
    assert len(set(episodes.lengths.tolist())) > 1
    generator = torch.Generator().manual_seed(0)
    old, values, advantages, returns = (torch.randn(episodes.mask.shape, generator=generator) for _ in range(4))
    gradients = []
    for tokens in (100_000, micro_batch_tokens):
        options = world.options(epochs=1, minibatches=1, micro_batch_tokens=tokens, max_grad_norm=1e9, clip=5.0)
        model = world.new_model(tokenizer)
        reader = new_critic(critic, model)
        parameters = [*model.parameters(), *reader.parameters()]
        numbers = TokenNumbers(old - 2, values, old)
        plan = plan_of_step(episodes, 1, options, 1, sharing_of(model))
        before = torch.cat([p.detach().flatten().double() for p in parameters])
        learner = Learner(model, reader, None, torch.optim.SGD(parameters, lr=1.0), options)
        learner.update(episodes, plan, numbers, None, advantages, returns, guard=len)
        gradients.append(before - torch.cat([p.detach().flatten() for p in parameters]))
    assert len(plan[0][0].batches) > 1
    assert gradients[0].norm() > 0.1
    assert (gradients[0] - gradients[1]).norm() / gradients[0].norm() < 1e-5


def new_critic(kind, model):
    """One whose values are not all 0."""
    critic = Critic(model, 0, 0) if kind == "model" else ValueHead(16)
    torch.nn.init.ones_(critic.head.output.weight if kind == "model" else critic.output.weight)
    return critic


def test_a_critic_of_its_own_reads_what_a_head_on_the_policy_does_and_leaves_the_policy_alone():
    """Before any update it is the policy; the value loss reaches the policy through a head, never through a model."""
    tokenizer = world.new_tokenizer()
    episodes = Episodes.build([[1, 4], [1, 5, 6], [1, 7]], [[3, 2], [8, 9, 2], [10]], "cpu")
    read, moved = {}, {}
    for kind in ("head", "model"):
        model = world.new_model(tokenizer)
        critic = new_critic(kind, model)
        policy, options = list(model.parameters()), world.options(minibatches=1, epochs=1)
        plan = plan_of_step(episodes, 1, options, 1, sharing_of(model))
        learner = Learner(model, critic, model, torch.optim.SGD([*policy, *critic.parameters()], lr=0.1), options)
        numbers, first = learner.before_updates(episodes, plan)
        before = [p.detach().clone() for p in policy]
        nothing_to_learn = torch.zeros(episodes.mask.shape)
        learner.update(episodes, plan, numbers, first, nothing_to_learn, numbers.values + 1, guard=len)
        read[kind] = numbers.values
        moved[kind] = not all(one.equal(other) for one, other in zip(before, policy, strict=True))
    torch.testing.assert_close(read["model"], read["head"])
    assert read["model"].abs().max() > 0.1
    assert moved == {"head": True, "model": False}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_critic_of_its_own_learns_what_states_are_worth(lora_rank):
    """States that differ by one token of the prompt alone, so that the layers must tell them apart."""
    pytest.importorskip("peft")
    model = world.new_model(world.new_tokenizer())
    critic = Critic(model, lora_rank, 32)
    kept = [p for p in critic.parameters() if not p.requires_grad]
    before = [p.clone() for p in kept]
    episodes = Episodes.build([[1, 4, 9], [1, 5, 9], [1, 6, 9], [1, 7, 9]], [[3, 2]] * 4, "cpu")
    returns = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    options = world.options(minibatches=1, epochs=1, value_clip=100.0)
    plan = plan_of_step(episodes, 1, options, 1, sharing_of(model))
    optimizer = torch.optim.Adam([p for p in critic.parameters() if p.requires_grad], lr=1e-2)
    learner = Learner(model, critic, model, optimizer, options)
    numbers, _ = learner.before_updates(episodes, plan)
    for _ in range(150):
        learner.update(episodes, plan, numbers, None, torch.zeros(4, 2), returns, guard=len)
    torch.testing.assert_close(learner.before_updates(episodes, plan)[0].values, returns, atol=0.1, rtol=0)
    assert bool(kept) == (lora_rank > 0)
    assert all(one.equal(other) for one, other in zip(before, kept, strict=True))


@pytest.mark.parametrize("critic", ["head", "model"])
def test_recomputing_layers_changes_nothing_but_memory(tmp_path, critic):
    """Also what rollouts, that use a cache, and dropout, that stays off, would change."""
    histories, kept = [], []
    for recompute in (False, True):
        model = world.new_model(world.new_tokenizer())
        model.config.attention_dropout = 0.5
        for layer in model.base_model.layers:
            layer.self_attn.attention_dropout = 0.5
        options = world.options(steps=2, gradient_checkpointing=recompute, critic=critic)
        histories.append(untimed(world.run(tmp_path / str(recompute), options, model=model).history))
        kept.append(bytes_kept_for_backward(model))
    assert histories[0] == histories[1]
    assert kept[1] < kept[0] / 3


def untimed(history):
    return [{k: v for k, v in line.items() if k != "eps" and not k.startswith("seconds/")} for line in history]


def bytes_kept_for_backward(model):
    kept = []

    def pack(tensor):
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.base_model(input_ids=torch.ones(2, 16, dtype=torch.long), use_cache=False)
    return sum(kept)


def test_lora_needs_no_second_model(tmp_path):
    """The policy without its adapters is the SFT generator, bit for bit, throughout the training."""
    pytest.importorskip("peft")
    tokenizer = world.new_tokenizer()
    histories = []
    for reference in (None, world.new_model(tokenizer)):
        model = world.new_model(tokenizer)
        options = world.options(steps=4, epochs=3)
        folder = tmp_path / str(reference is None)
        result = world.run(folder, options, model=model, reference=reference or model, lora_rank=4)
        histories.append(untimed(result.history))
    assert histories[0][-1]["objective/kl"] != 0
    assert histories[0] == histories[1]


def test_old_numbers_land_on_their_own_episode():
    tokenizer = world.new_tokenizer()
    model, head = world.new_model(tokenizer), ValueHead(16)
    torch.nn.init.ones_(head.output.weight)
    episodes = Episodes.build([[1, 4], [1, 5, 6], [1, 7]], [[3, 2], [8, 9, 2], [10]], "cpu")
    options = world.options(minibatches=2, micro_batch_tokens=5, temperature=0.7)
    plan = plan_of_step(episodes, 1, options, 1, sharing_of(model))
    numbers, first = Learner(model, head, model, None, options).before_updates(episodes, plan)
    rows = plan[0][0].batches[0].rows
    torch.testing.assert_close(episodes.padded(first.logprobs, rows), numbers.logprobs[rows])
    with torch.no_grad():
        for row in range(3):
            [batch] = episodes.batches([row], 100, sharing_of(model))
            alone = batch.score(model, head, 0.7)
            length = len(alone.logprobs)
            torch.testing.assert_close(numbers.logprobs[row, :length], alone.logprobs)
            torch.testing.assert_close(numbers.values[row, :length], alone.values)
            torch.testing.assert_close(numbers.reference_logprobs[row, :length], alone.logprobs)
            assert numbers.values[row, length:].abs().sum() == 0


def test_only_the_first_update_uses_a_forward_from_before_the_updates():
    """A process without episodes in the first minibatch scores its own first one after an update."""
    tokenizer = world.new_tokenizer()
    model, head = world.new_model(tokenizer), ValueHead(16)
    episodes = Episodes.build([[1, 4], [1, 5, 6], [1, 7]], [[3, 2], [8, 9, 2], [10]], "cpu")
    options = world.options(minibatches=2)
    plan = plan_of_step(episodes, 1, options, 1, sharing_of(model))
    learner = Learner(model, head, model, None, options)
    first = learner.before_updates(episodes, plan)[1]
    assert first.logprobs.requires_grad
    assert len(first.logprobs) == len(plan[0][0].batches[0].choice_of)
    plan[0].insert(0, Minibatch([], 6))
    assert learner.before_updates(episodes, plan)[1] is None


def test_metrics_fit_together(tmp_path):
    options = world.options(steps=3, evaluate_every=3, kl=0.2)
    history = world.run(tmp_path, options).history
    assert [line["step"] for line in history] == [0, 1, 2, 3]
    assert [line["episode"] for line in history] == [0, 16, 32, 48]
    assert ["validation/pass_rate" in line for line in history] == [True, False, False, True]
    for line in history[1:]:
        assert line["objective/non_score_reward"] == pytest.approx(-0.2 * line["objective/kl"])
        assert line["objective/rlhf_reward"] == pytest.approx(
            line["objective/scores"] + line["objective/non_score_reward"]
        )
        assert 0 < line["policy/entropy_avg"] < math.log(11)
        assert line["lr"] == 3e-3
        assert 0 < line["episode/distinct_programs"] <= 1
        assert line["eps"] > 0
    assert history[2]["objective/kl"] != 0


def test_the_kl_coefficient_follows_the_controller(tmp_path):
    options = world.options(kl=0.2, kl_target=0.05, kl_horizon=16)  # 16 episodes a step: the cut of 20 % in full
    history = world.run(tmp_path, options).history
    coefficients = [line["objective/kl_coef"] for line in history[1:]]
    assert history[1]["objective/kl"] == 0  # far below the target
    assert history[2]["objective/kl"] > 0.06  # far above
    assert coefficients[:3] == pytest.approx([0.2, 0.2 * 0.8, 0.2 * 0.8 * 1.2])


def test_every_metric_is_documented(tmp_path):
    from rewardranker.policy import ppo

    for name in {name for line in world.run(tmp_path).history for name in line}:
        section, _, rest = name.partition("/")
        documented = name in ppo.__doc__ or (rest and f"/{rest}" in ppo.__doc__ and section in ppo.__doc__)
        assert documented or name == "validation/pass_rate_se", name


# --- rewards and tasks --------------------------------------------------------------------------------------------


def sample(finish):
    return Sample("t", 0, "", "", "", (1,), finish_reason=finish)


def test_scores_are_normalised_clipped_and_less_the_penalty():
    options = world.options(reward_clip=1.5, missing_end_penalty=0.25)
    rewards = np.asarray([4.0, 4.0, 100.0, -100.0], dtype=np.float32)
    samples = [sample("stop"), sample("length"), sample("stop"), sample("length")]
    assert episode_scores(rewards, samples, STATE, options).tolist() == [0.5, 0.25, 1.5, -1.75]


def test_the_scale_is_the_starts_mean_and_deviation():
    rewards, samples = np.asarray([1.0, 3.0, 5.0, 7.0], dtype=np.float32), [sample("stop")] * 4
    assert reward_scale(rewards, samples, world.options()) == (4.0, math.sqrt(5.0))
    assert reward_scale(rewards, samples, world.options(normalize_reward=False)) == (0.0, 1.0)
    assert reward_scale(np.full(4, 3.0, np.float32), samples, world.options()) == (3.0, 1.0)


def test_a_missing_end_costs_its_penalty_in_training(tmp_path):
    options = world.options(steps=1, missing_end_penalty=0.5)
    line = world.run(tmp_path, options, reward=lambda tasks, samples: np.zeros(len(samples), np.float32)).history[1]
    cut = 16 - line["val/num_eos_tokens"]
    assert cut > 0
    assert line["objective/scores"] == pytest.approx(-0.5 * cut / 16)


def test_a_step_draws_distinct_tasks_and_an_epoch_sees_all():
    tasks, options = world.new_tasks(12), world.options(tasks_per_step=4)
    steps = [[t.task_id for t in tasks_of_step(tasks, step, options, 1)] for step in range(1, 7)]
    assert (
        sorted(steps[0] + steps[1] + steps[2])
        == sorted(steps[3] + steps[4] + steps[5])
        == sorted(t.task_id for t in tasks)
    )
    assert steps[:3] != steps[3:]


def test_seeds_differ_by_every_argument_and_are_stable():
    places = [(0, "rollout", 1, 1), (1, "rollout", 1, 1), (0, "rollout", 2, 1), (0, "rollout", 1, 2)]
    places += [(0, "tasks", 1, 1), (0, "validation")]
    seeds = [derived_seed(*place) for place in places]
    assert len(set(seeds)) == 6
    assert derived_seed(0, "rollout", 1, 1) == seeds[0]


# --- which policy is kept -----------------------------------------------------------------------------------------


def test_the_pass_rate_decides_even_while_the_reward_rises(tmp_path):
    """The reward pays for avoiding the letter that the tests want."""
    tokenizer = world.new_tokenizer()
    options = world.options(steps=12, tasks_per_step=8, evaluate_every=4, kl=0.01)
    result = world.run(tmp_path, options, reward=world.LetterReward("c", sign=-1.0))
    measured = [line for line in result.history if "validation/pass_rate" in line]
    assert measured[-1]["validation/score"] > measured[0]["validation/score"] + 0.2
    assert measured[-1]["validation/pass_rate"] < measured[0]["validation/pass_rate"]
    assert (result.step, result.figures["improved"]) == (0, False)
    assert_equal_weights(weights_of(result.path), world.new_model(tokenizer).state_dict())


def test_the_kept_policy_is_that_of_its_step(tmp_path):
    rates = [0.25, 0.75, 0.5]  # at steps 0, 2, 4
    result = world.run(tmp_path / "longer", judge=ScriptedJudge(rates))
    assert (result.step, result.figures["pass_rate"], result.figures["sft_pass_rate"]) == (2, 0.75, 0.25)
    tokenizer = world.new_tokenizer()
    policy = world.new_model(tokenizer)
    world.run(tmp_path / "shorter", world.options(steps=2), judge=ScriptedJudge(rates), model=policy)
    assert_equal_weights(weights_of(result.path), policy.state_dict())
    assert AutoTokenizer.from_pretrained(result.path).get_vocab() == tokenizer.get_vocab()


def test_patience_ends_the_training(tmp_path):
    options = world.options(steps=20, evaluate_every=2, patience=2)
    result = world.run(tmp_path, options, judge=ScriptedJudge([0.5, 0.75, 0.75, 0.25, 1.0]))
    assert (result.step, result.figures["steps"], result.figures["stopped_early"]) == (2, 6, True)


def test_validation_draws_the_same_random_numbers_every_time(tmp_path):
    seeds = []

    class Recording(world.Roller):
        def __call__(self, model, tasks, samples_per_task, *, seed, temperature):
            seeds.append((tasks[0].task_id[0], seed, temperature))
            return super().__call__(model, tasks, samples_per_task, seed=seed, temperature=temperature)

    world.run(tmp_path, world.options(temperature=0.8), rollout=Recording(world.new_tokenizer()))
    validation, training = ([s for s in seeds if s[0] == kind] for kind in "vt")
    assert len(validation) == 3
    assert len(set(validation)) == 1
    assert validation[0][2] == 1.0
    assert len(training) == len(set(training)) == 4
    assert training[0][2] == 0.8


# --- guards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_kl": 1e-4}, r"step 2: the KL .* above ppo.max_kl=0.0001.*Raise ppo.kl.*best-0"),
        ({"min_entropy": 2.39}, r"step 1: the mean token entropy .* ppo.min_entropy=2.39.*best-0"),
    ],
)
def test_a_collapse_stops_with_an_error_and_keeps_the_best(tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        world.run(tmp_path, world.options(**changes))
    assert_equal_weights(weights_of(tmp_path / "best-0"), world.new_model(world.new_tokenizer()).state_dict())


def test_a_loss_that_is_not_finite_stops_before_the_weights_take_it(tmp_path):
    calls = []

    def exploding(tasks, samples):
        calls.append(len(samples))
        return np.full(len(samples), 1e30 if len(calls) > 1 else 0.0, dtype=np.float32)

    policy = world.new_model(world.new_tokenizer())
    options = world.options(normalize_reward=False, whiten_advantages=False)
    with pytest.raises(TrainingError, match=r"step 1: not finite: .*loss/value_avg.*ppo.reward_clip"):
        world.run(tmp_path, options, reward=exploding, model=policy)
    assert all(p.isfinite().all() for p in policy.parameters())


def test_a_reward_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="1 values that are not finite"):
        world.run(
            tmp_path, reward=lambda tasks, samples: np.asarray([math.nan] + [0.0] * (len(samples) - 1), np.float32)
        )


def test_too_few_tasks_are_refused(tmp_path):
    with pytest.raises(DataError, match="tasks_per_step is 9 but there are 8"):
        world.run(tmp_path, world.options(tasks_per_step=9))


def test_a_rollout_at_another_temperature_is_refused(tmp_path):
    class Cold(world.Roller):
        def __call__(self, model, tasks, samples_per_task, *, seed, temperature):
            return super().__call__(model, tasks, samples_per_task, seed=seed, temperature=0.5)

    with pytest.raises(DataError, match=r"temperature 0.5 and top-p 1.0: PPO needs 1.0 and 1"):
        world.run(tmp_path, rollout=Cold(world.new_tokenizer()))


# --- one folder, one PPO -------------------------------------------------------------------------------------------


def test_a_finished_ppo_is_returned_and_other_options_are_refused(tmp_path):
    first = world.run(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text()
    again = world.run(tmp_path, rollout=lambda *_, **__: pytest.fail("drew programs again"))
    assert again == first
    assert (tmp_path / "metrics.jsonl").read_text() == lines
    assert [json.loads(line) for line in lines.splitlines()] == first.history
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "policy", "result.json"]
    with pytest.raises(RunDirectoryError, match=r"ppo.kl: was 0.05, now 0.3"):
        world.run(tmp_path, world.options(kl=0.3))
    with pytest.raises(RunDirectoryError, match="tasks"):
        world.run(tmp_path, tasks=world.new_tasks(9))


def test_one_object_for_policy_and_reference_still_has_a_fixed_reference(tmp_path):
    model = world.new_model(world.new_tokenizer())
    assert world.run(tmp_path, model=model, reference=model).history[4]["objective/kl"] != 0
