"""TRL's PPOTrainer on the settings of `ppo.py`, which starts it in TRL's own environment: SETTINGS.json RESULT.json.

The reward is the same function of a program as on the other side: the last token's score, shifted and scaled. TRL
reads the score at the end token, which the reward model never saw in its training, so the state before it is read in
its place. TRL's data loader is replaced by one that gives the same tasks in the same order.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from ppo_memory import Memory
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer


class Steps(TrainerCallback):
    """Seconds and metrics of each step."""

    def __init__(self):
        self.metrics, self.seconds, self.cpu = [], [], []
        self._mark()

    def _mark(self):
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def on_train_begin(self, args, state, control, **_):
        self._mark()

    def on_log(self, args, state, control, logs=None, **_):
        self.metrics.append({name: float(value) for name, value in logs.items()})

    def on_step_end(self, args, state, control, **_):
        self.seconds.append(time.perf_counter() - self._wall)
        self.cpu.append(time.process_time() - self._cpu)
        self._mark()


class ProgramEndReward(nn.Module):
    """A reward model whose state at the end token is that of the program's last token."""

    base_model_prefix = "body"

    def __init__(self, model, end_token_id):
        super().__init__()
        self.inner, self.score, self.end = model.base_model, model.score, end_token_id

    def body(self, input_ids, **arguments):
        output = self.inner(input_ids=input_ids, **arguments)
        last = output.hidden_states[-1]
        at_end = (input_ids == self.end)[..., None]
        output.hidden_states = (torch.where(at_end, last.roll(1, dims=1), last),)
        return output


def scored(folder, mean, deviation):
    """The reward model in units of deviations from the mean."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    head = nn.Linear(model.score.in_features, 1)
    with torch.no_grad():
        head.weight.copy_(model.score.weight / deviation)
        head.bias.fill_(-mean / deviation)
    model.score = head
    return model


def main(settings, result):
    torch.set_num_threads(settings["threads"])
    transformers.set_seed(settings["seed"])
    np.random.seed(settings["seed"])
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(settings["policy"], padding_side="left")
    memory = Memory()
    policy = AutoModelForCausalLM.from_pretrained(settings["policy"])
    rank = settings["lora_rank"]
    reference = None if rank else AutoModelForCausalLM.from_pretrained(settings["policy"])
    value, reward = (scored(settings["reward_model"], settings["mean"], settings["deviation"]) for _ in range(2))
    rows = [{"input_ids": ids} for step in settings["prompts"] for ids in step]
    episodes = len(settings["prompts"][0])
    arguments = PPOConfig(
        output_dir=str(Path(result).with_suffix("")),
        total_episodes=len(rows),
        per_device_train_batch_size=episodes,  # a step's episodes at once: each minibatch is one optimiser step
        gradient_accumulation_steps=1,
        num_mini_batches=settings["minibatches"],
        num_ppo_epochs=settings["epochs"],
        local_rollout_forward_batch_size=settings.get("rollout_rows", episodes),
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="constant",
        response_length=settings["max_new_tokens"],
        stop_token="eos",
        temperature=settings["temperature"],
        missing_eos_penalty=settings["missing_end_penalty"],
        kl_coef=settings["kl"],
        seed=settings["seed"],
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        num_sample_generations=0,
        disable_tqdm=True,
    )
    adapters = LoraConfig(r=rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM") if rank else None
    steps = Steps()
    trainer = PPOTrainer(
        args=arguments,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=ProgramEndReward(reward, tokenizer.eos_token_id),
        value_model=value,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:1]),
        callbacks=[steps],
        peft_config=adapters,
    )
    trainer.dataloader = DataLoader(trainer.train_dataset, batch_size=episodes, collate_fn=trainer.data_collator)
    trainer.train()
    found = {"seconds": steps.seconds, "cpu": steps.cpu, "metrics": steps.metrics, **memory.figures()}
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2])
