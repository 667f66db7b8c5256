import json
import signal
import subprocess
import sys
from pathlib import Path

import ppo_world as world
import pytest
import torch


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


def test_with_lora_the_checkpoint_holds_the_adapters_alone_and_is_gone_on_from(tmp_path):
    pytest.importorskip("peft")

    class Interrupted(world.Roller):
        calls = 0

        def __call__(self, *arguments, **named):
            self.calls += 1
            if self.calls == 6:  # start, steps 1 and 2, measurement, step 3, then
                raise KeyboardInterrupt
            return super().__call__(*arguments, **named)

    options = world.options(steps=4, evaluate_every=2)
    whole = world.run(tmp_path / "whole", options, lora_rank=4)
    with pytest.raises(KeyboardInterrupt):
        world.run(tmp_path / "resumed", options, lora_rank=4, rollout=Interrupted(world.new_tokenizer()))
    saved = torch.load(tmp_path / "resumed" / "checkpoint" / "training.pt", weights_only=True)["policy"]
    assert saved
    assert all("lora_" in name for name in saved)
    assert world.run(tmp_path / "resumed", options, lora_rank=4).figures == whole.figures
    assert untimed(tmp_path / "resumed") == untimed(tmp_path / "whole")
