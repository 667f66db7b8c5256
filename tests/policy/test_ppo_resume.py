import json
import signal
import subprocess
import sys
from pathlib import Path

import ppo_world as world
import pytest
import torch

from rewardranker.errors import RunDirectoryError, TrainingError


def untimed(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "eps" and not k.startswith("seconds/")} for line in lines]


def test_a_killed_ppo_ends_with_the_bits_of_an_undisturbed_one(tmp_path):
    """Killed in a rollout two steps past a checkpoint, then again while a checkpoint is being saved."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for where, lines in (("rollout", 5), ("saving", 7)):
        command = [sys.executable, str(Path(world.__file__)), str(killed), where]
        process = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert process.returncode == -signal.SIGKILL, process.stderr
        assert len((killed / "metrics.jsonl").read_text().splitlines()) == lines
        assert json.loads((killed / "checkpoint" / "state.json").read_text())["state"]["step"] == 3
    resumed_model, whole_model = (world.new_model(world.new_tokenizer()) for _ in range(2))
    resumed = world.run(killed, world.RESUMED, model=resumed_model)
    undisturbed = world.run(whole, world.RESUMED, model=whole_model)

    assert undisturbed.step > 0
    assert resumed.figures == undisturbed.figures
    assert untimed(killed) == untimed(whole)
    assert (killed / "policy/model.safetensors").read_bytes() == (whole / "policy/model.safetensors").read_bytes()
    for one, other in zip(resumed_model.parameters(), whole_model.parameters(), strict=True):
        assert one.equal(other)  # the last policy, not only the best
    assert sorted(p.name for p in killed.iterdir()) == sorted(p.name for p in whole.iterdir())


@pytest.mark.parametrize(("lora_rank", "critic"), [(4, "head"), (4, "model"), (0, "model")])
def test_a_checkpoint_holds_what_is_trained_alone_and_is_gone_on_from(tmp_path, lora_rank, critic):
    pytest.importorskip("peft")

    class Interrupted(world.Roller):
        calls = 0

        def __call__(self, *arguments, **named):
            self.calls += 1
            if self.calls == 6:  # start, steps 1 and 2, measurement, step 3, then
                raise KeyboardInterrupt
            return super().__call__(*arguments, **named)

    options = world.options(steps=4, evaluate_every=2, critic=critic)
    whole = world.run(tmp_path / "whole", options, lora_rank=lora_rank)
    with pytest.raises(KeyboardInterrupt):
        world.run(tmp_path / "resumed", options, lora_rank=lora_rank, rollout=Interrupted(world.new_tokenizer()))
    saved = torch.load(tmp_path / "resumed" / "checkpoint" / "training.pt", weights_only=True)
    for part in ("policy", "value_head"):
        layers = [name for name in saved[part] if "layers." in name]
        assert bool(layers) == (part == "policy" or critic == "model")
        assert all(("lora_" in name) == (lora_rank > 0) for name in layers)
    assert world.run(tmp_path / "resumed", options, lora_rank=lora_rank).figures == whole.figures
    assert untimed(tmp_path / "resumed") == untimed(tmp_path / "whole")


def test_a_checkpoint_from_before_an_option_existed_is_gone_on_from_as_with_its_default(tmp_path):
    with pytest.raises(TrainingError):
        world.run(tmp_path, world.options(steps=4, evaluate_every=2), reward=NotFiniteLater())
    state = tmp_path / "checkpoint" / "state.json"
    saved = json.loads(state.read_text())
    del saved["identity"]["options"]["critic"]
    state.write_text(json.dumps(saved))
    with pytest.raises(RunDirectoryError, match=r"ppo\.critic: was 'head', now 'model'"):
        world.run(tmp_path, world.options(steps=4, evaluate_every=2, critic="model"))
    assert world.run(tmp_path, world.options(steps=4, evaluate_every=2)).figures["steps"] == 4


class NotFiniteLater(world.LetterReward):
    """Ends a training after its first measurements."""

    def __init__(self):
        super().__init__("c")
        self.calls = 0

    def __call__(self, tasks, samples):
        self.calls += 1
        return super().__call__(tasks, samples) * (float("nan") if self.calls > 4 else 1.0)
