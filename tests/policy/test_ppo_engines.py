"""PPO's programs from an engine that is given the policy's weights: stand-ins with real models; real vLLM (slow)."""

import copy
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import engine_world as world
import numpy as np
import ppo_world
import pytest
import torch
from pydantic import ValidationError

from rewardranker.config import PPOOptions, PromptOptions, VLLMOptions
from rewardranker.errors import ConfigError, MissingExtraError, ModelError, ModelServerError, TrainingError
from rewardranker.generation.policy_server import PolicyServer
from rewardranker.policy.offpolicy import importance_weights
from rewardranker.rollouts import Rollouts
from rewardranker.training import merged, merged_weights, with_lora

OWN = world.recipe("transformers")


def with_fake(engine=world.FakeVLLM):
    rollouts = Rollouts(world.recipe("vllm"))
    rollouts._engine._new_sampler = engine
    return rollouts


def untimed(folder):
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "eps" and not k.startswith("seconds/")} for line in lines]


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_weights_are_those_of_the_merged_model_and_leave_the_policy_as_it_is(dtype):
    pytest.importorskip("peft")
    policy = world.new_model().to(dtype)
    adapted = with_lora(policy, 4, 8, "CAUSAL_LM", 0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    before = copy.deepcopy(policy.state_dict())
    found, plain = dict(merged_weights(policy)), world.new_model().to(dtype).state_dict()
    assert all(weight.equal(before[name]) for name, weight in policy.state_dict().items())
    expected = merged(copy.deepcopy(adapted)).state_dict()
    assert set(found) == set(expected) == set(plain)
    assert all(found[name].equal(expected[name]) for name in expected)
    assert not found["model.layers.0.mlp.up_proj.weight"].equal(plain["model.layers.0.mlp.up_proj.weight"])


# --- in this process --------------------------------------------------------------------------------------------------


def test_an_engine_with_the_policys_weights_trains_as_the_policys_own_sampler(tmp_path):
    """The same draws from the same weights: equal bits, so every drawing came after the last update."""
    own, policy = world.train(tmp_path / "own", OWN)
    theirs, other = world.train(tmp_path / "engine", world.recipe("vllm"), with_fake())
    assert own.step > 0
    assert untimed(tmp_path / "own") == untimed(tmp_path / "engine")
    assert all(a.equal(b) for a, b in zip(policy.parameters(), other.parameters(), strict=True))
    assert [line["rollout/logprob_gap"] < 1e-5 for line in theirs.history[1:]] == [True] * 4


def test_adapters_reach_the_engine(tmp_path):
    pytest.importorskip("peft")
    result, policy = world.train(tmp_path, world.recipe("vllm"), with_fake(), lora_rank=4)
    assert result.history[-1]["objective/kl"] > 0.5  # the adapters have learned something
    assert max(line["rollout/logprob_gap_max"] for line in result.history[1:]) < 1e-4
    assert [ids for ids, _ in world.greedy(with_fake()._engine, policy)] == [
        ids for ids, _ in world.greedy(Rollouts(OWN)._engine, policy)
    ]


class Deaf(world.FakeVLLM):
    def load_weights(self, named):
        pass


def test_an_engine_with_other_weights_is_noticed_at_the_first_step(tmp_path):
    with pytest.raises(TrainingError, match=r"step 1: .* nats on average: what draws the programs has other weights"):
        world.train(tmp_path, world.recipe("vllm"), with_fake(Deaf))


class Forgetful(world.FakeVLLM):
    """Takes weights only twice: at the start's measurement and in step 1."""

    taken = 0

    def load_weights(self, named):
        self.taken += 1
        if self.taken <= 2:
            super().load_weights(named)


def test_the_gap_shows_weights_of_a_step_before(tmp_path):
    chosen = world.recipe("vllm", learning_rate=3e-4, steps=2)
    result, _ = world.train(tmp_path, chosen, with_fake(Forgetful))
    assert result.history[1]["rollout/logprob_gap"] < 1e-5
    assert result.history[2]["rollout/logprob_gap"] > 1e-2


def test_the_engine_gives_its_memory_back_after_ppo_and_comes_again(tmp_path):
    rollouts, made, closed = with_fake(), world.FakeVLLM.made, world.FakeVLLM.closed
    for number in (1, 2):
        world.train(tmp_path / str(number), world.recipe("vllm", steps=1), rollouts)
        assert (world.FakeVLLM.made - made, world.FakeVLLM.closed - closed) == (number, number)
    assert untimed(tmp_path / "1") == untimed(tmp_path / "2")


def test_one_engine_serves_many_policies_but_no_other_shape():
    engine, made = with_fake()._engine, world.FakeVLLM.made
    first, second = world.greedy(engine, world.new_model(0)), world.greedy(engine, world.new_model(1))
    assert first != second
    assert world.FakeVLLM.made == made + 1
    with pytest.raises(ModelError, match="another shape"):
        world.greedy(engine, ppo_world.new_model(ppo_world.new_tokenizer()))


def test_a_resumed_training_draws_from_the_checkpoints_weights(tmp_path):
    class Interrupted(world.FakeVLLM):
        draws = 0

        def sample(self, *arguments, **named):
            self.draws += 1
            if self.draws == 5:  # start, steps 1 and 2, measurement, then in step 3
                raise KeyboardInterrupt
            return super().sample(*arguments, **named)

    world.train(tmp_path / "whole", world.recipe("vllm"), with_fake())
    with pytest.raises(KeyboardInterrupt):
        world.train(tmp_path / "resumed", world.recipe("vllm"), with_fake(Interrupted))
    world.train(tmp_path / "resumed", world.recipe("vllm", {"gpu_memory_utilization": 0.2}), with_fake())
    assert untimed(tmp_path / "resumed") == untimed(tmp_path / "whole")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_a_missing_vllm_is_said_before_the_training():
    with pytest.raises(MissingExtraError, match=r"pip install 'rewardranker\[vllm\]'"):
        Rollouts(world.recipe("vllm")).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rollouts": "vllm-server"}, r"needs vllm\.url and vllm\.weights_dir"),
        ({"rollouts": "vllm", "vllm": {"engine": {"tensor_parallel_size": 2}}}, "rollouts=vllm-server"),
        ({"importance_cap": 2.0, "temperature": 0.7}, "importance_cap needs temperature 1"),
    ],
)
def test_what_does_not_go_together_is_refused_when_the_recipe_is_read(options, message):
    with pytest.raises(ValidationError, match=message):
        PPOOptions(**options)


# --- importance weights -----------------------------------------------------------------------------------------------


def test_importance_weights_are_ratios_up_to_the_cap():
    policy, sampler = torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([-1.5, -0.5, 0.0])
    found = importance_weights(policy, sampler, 1.2)
    assert found.tolist() == pytest.approx([1.2, np.exp(-0.5), 1.0])
    assert importance_weights(policy, sampler, None) is None


def test_a_cap_changes_nothing_where_the_sampler_is_the_policy_and_something_where_it_is_not(tmp_path):
    def curve(name, engine, **changes):
        result, _ = world.train(tmp_path / name, world.recipe("vllm", learning_rate=3e-4, steps=3, **changes), engine)
        return [line["objective/kl"] for line in result.history[1:]]

    assert curve("a", with_fake()) == pytest.approx(curve("b", with_fake(), importance_cap=2.0), abs=1e-4)
    stale, weighed = curve("c", with_fake(Forgetful)), curve("d", with_fake(Forgetful), importance_cap=2.0)
    assert stale[:2] == pytest.approx(weighed[:2], abs=1e-4)
    assert abs(stale[2] - weighed[2]) > 1e-4


# --- a server ---------------------------------------------------------------------------------------------------------


def server_recipe(server, folder, **changes):
    return world.recipe("vllm-server", {"url": server.url, "weights_dir": str(folder)}, **changes)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_server_draws_from_the_policys_weights(tmp_path, lora_rank):
    if lora_rank:
        pytest.importorskip("peft")
    left = tmp_path / "weights" / "policy-of-a-killed-session"
    left.mkdir(parents=True)
    with world.FakeServer() as server:
        chosen = server_recipe(server, tmp_path / "weights")
        result, policy = world.train(tmp_path / "ppo", chosen, lora_rank=lora_rank)
        server.paths.clear()
        assert list((tmp_path / "weights").iterdir()) == []
        assert [ids for ids, _ in world.greedy(Rollouts(chosen)._engine, policy)] == [
            ids for ids, _ in world.greedy(Rollouts(OWN)._engine, policy)
        ]
    assert server.paths[:3] == ["/collective_rpc", "/reset_prefix_cache", "/v1/completions"]
    assert max(line["rollout/logprob_gap_max"] for line in result.history[1:]) < 1e-4


def checked(server, folder):
    PolicyServer(PromptOptions(), VLLMOptions(url=server.url + "/v1", weights_dir=str(folder))).check()


def test_a_server_without_the_switch_or_with_other_users_is_refused(tmp_path):
    with world.FakeServer(dev_mode=False) as server, pytest.raises(ConfigError, match="VLLM_SERVER_DEV_MODE=1"):
        checked(server, tmp_path)
    with world.FakeServer(busy=True) as server, pytest.raises(ModelServerError, match="belongs to one training"):
        checked(server, tmp_path)


def test_a_weights_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with world.FakeServer() as server:
        engine = Rollouts(server_recipe(server, tmp_path / "file"))._engine
        with pytest.raises(ConfigError, match=r"ppo\.vllm\.weights_dir=.*file can't be written"):
            world.greedy(engine, world.new_model())


# --- real vLLM --------------------------------------------------------------------------------------------------------

SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
}
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None, reason="vllm is not installed (pip install 'rewardranker[vllm]')"
)


def trained(folder, *launcher, **given):
    command = [sys.executable, *launcher, str(Path(world.__file__)), str(folder), json.dumps(given)]
    return subprocess.run(command, env={**os.environ, **SETTINGS}, capture_output=True, text=True, timeout=280)


def check_agreement(folder):
    """vLLM's greedy programs are the trained policy's, and each step's tokens had the policy's log-probabilities."""
    found = json.loads((folder / "greedy.json").read_text())
    assert [ids for ids, _ in found["theirs"]] == [ids for ids, _ in found["ours"]]
    for (_, ours), (_, theirs) in zip(found["ours"], found["theirs"], strict=True):
        assert theirs == pytest.approx(ours, abs=1e-4)
    metrics = untimed(folder)
    assert metrics[-1]["objective/kl"] > 0.5  # it is another policy than at the start
    assert max(line["rollout/logprob_gap_max"] for line in metrics[1:]) < 1e-4


@pytest.mark.slow
@needs_vllm
@pytest.mark.parametrize("lora_rank", [0, 4])
def test_vllm_draws_from_the_policy_after_every_update(tmp_path, lora_rank):
    process = trained(tmp_path, lora_rank=lora_rank)
    assert process.returncode == 0, process.stderr[-3000:]
    check_agreement(tmp_path)


@pytest.mark.slow
@needs_vllm
def test_two_processes_draw_by_an_engine_each(tmp_path):
    one, two = trained(tmp_path / "one"), trained(tmp_path / "two", "-m", "torch.distributed.run", "--nproc-per-node=2")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr[-3000:]
    check_agreement(tmp_path / "two")
    for alone, together in zip(untimed(tmp_path / "one"), untimed(tmp_path / "two"), strict=True):
        assert together["validation/pass_rate" if alone["step"] == 0 else "objective/scores"] == pytest.approx(
            alone["validation/pass_rate" if alone["step"] == 0 else "objective/scores"], abs=1e-3
        )


@pytest.mark.slow
@needs_vllm
def test_a_killed_training_with_vllm_ends_as_an_undisturbed_one(tmp_path):
    settings = {"steps": 5, "evaluate_every": 2}
    killed = trained(tmp_path / "killed", killed_at=6, **settings)  # start, 1, 2, measurement, 3, then in step 4
    assert killed.returncode == -signal.SIGKILL
    assert trained(tmp_path / "killed", **settings).returncode == 0
    assert trained(tmp_path / "whole", **settings).returncode == 0
    assert untimed(tmp_path / "killed") == untimed(tmp_path / "whole")
    a, b = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("killed", "whole"))
    assert all(a[name].equal(b[name]) for name in b)
