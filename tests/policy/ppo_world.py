"""A world small enough for PPO to be checked exactly: programs are a few letters, and a test is a letter they need.

Run as a script it trains in a folder and kills itself half-way, for the resumption test.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rewardranker.config import PPOOptions, PromptOptions
from rewardranker.policy import train_ppo
from rewardranker.prompts import encode_prompt
from rewardranker.types import Sample, Task, Verdict

LETTERS = ["a", "b", "c", "d", "e", "f", "g", "h"]


def new_tokenizer():
    words = ["<pad>", "<s>", "</s>", *LETTERS]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="a"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def new_model(tokenizer, seed=0, scale=0.3):
    """A Llama of about 5,000 parameters whose logits spread enough to have preferences."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=scale,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval()


def new_tasks(count, prefix="t"):
    return [
        Task(f"{prefix}{i}", f"{LETTERS[i % 8]} {LETTERS[(3 * i + 1) % 8]}"[: 1 + 2 * (i % 2)]) for i in range(count)
    ]


class Roller:
    """Samples with the whole sequence forwarded for each token: slow, short, and plainly right."""

    def __init__(self, tokenizer, max_new_tokens=4):
        self.tokenizer, self.max_new_tokens = tokenizer, max_new_tokens

    @torch.no_grad()
    def __call__(self, model, tasks, samples_per_task, *, seed, temperature):
        generator = torch.Generator().manual_seed(seed)
        return [self._task(model, task, samples_per_task, generator, temperature) for task in tasks]

    def _task(self, model, task, n, generator, temperature):
        eos = self.tokenizer.eos_token_id
        ids = torch.tensor([encode_prompt(self.tokenizer, task.prompt, PromptOptions())] * n)
        start = ids.shape[1]
        for _ in range(self.max_new_tokens):
            logits = model(input_ids=ids).logits[:, -1].float() / temperature
            chosen = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, chosen], 1)
        samples = []
        for number, row in enumerate(ids[:, start:].tolist()):
            ended = eos in row
            tokens = row[: row.index(eos) + 1] if ended else row
            text = " ".join(self.tokenizer.convert_ids_to_tokens([t for t in tokens if t != eos]))
            samples.append(
                Sample(
                    task.task_id,
                    number,
                    text,
                    text,
                    f"{task.prompt} {text}",
                    tuple(tokens),
                    finish_reason="stop" if ended else "length",
                    temperature=temperature,
                )
            )
        return samples


class LetterReward:
    """1 if the completion has the letter."""

    def __init__(self, letter, sign=1.0):
        self.letter, self.sign = letter, sign

    def __call__(self, tasks: Sequence[Task], samples: Sequence[Sample]):
        return np.asarray([self.sign * (self.letter in s.completion.split()) for s in samples], dtype=np.float32)


class LetterJudge:
    """Passes a program whose completion has the letter."""

    isolation = "none"

    def __init__(self, letter):
        self.letter = letter

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        for task, sample in items:
            passed = self.letter in sample.completion.split()
            yield Verdict(
                task.task_id, sample.sample_id, passed, "passed" if passed else "wrong answer", "", passed + 1, 2
            )

    def close(self) -> None: ...


def options(**changes):
    return PPOOptions.model_validate(
        {
            "steps": 4,
            "tasks_per_step": 4,
            "samples_per_task": 4,
            "learning_rate": 3e-3,
            "evaluate_every": 2,
            "validation_samples": 4,
            "max_new_tokens": 4,
            **changes,
        }
    )


def run(folder, opts=None, *, reward=None, judge=None, rollout=None, tasks=None, validation=None, model=None, **more):
    """`train_ppo` with the world's parts where the test gives none."""
    torch.set_num_threads(1)
    tokenizer = new_tokenizer()
    opts = opts or options()
    model = model if model is not None else new_model(tokenizer)
    return train_ppo(
        model,
        more.pop("reference", None) or new_model(tokenizer),
        tokenizer,
        tasks or new_tasks(8),
        validation or new_tasks(4, "v"),
        reward or LetterReward("c"),
        rollout or Roller(tokenizer, opts.max_new_tokens),
        judge or LetterJudge("c"),
        opts,
        PromptOptions(),
        folder,
        **more,
    )


RESUMED = options(steps=8, evaluate_every=3, kl_target=0.5)


class KilledRoller(Roller):
    """Kills its own process (SIGKILL) when it is called for the n-th time."""

    def __init__(self, tokenizer, calls):
        super().__init__(tokenizer)
        self.left = calls

    def __call__(self, *arguments, **named):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(*arguments, **named)


def die_while_saving(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder, where = sys.argv[1:]
    if where == "rollout":  # start, steps 1 to 3, measurement, step 4, then: two steps past the checkpoint
        run(Path(folder), RESUMED, rollout=KilledRoller(new_tokenizer(), 7))
    torch.save = die_while_saving  # at step 6, with the metrics and perhaps a better policy already written
    run(Path(folder), RESUMED)
