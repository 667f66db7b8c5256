"""Programs from a transformers model in this process: Task -> Samples.

Guarantees: what is drawn for sample `i` of a task depends on the model, the sampling options, the task and `i`; not
on `n`, the other tasks, their order, or `batch_tasks`, up to floating-point noise (see `decoding`). For files that
are equal byte for byte, use equal batches: `files.sample_to_file` does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import ModelError
from rewardranker.generation.decoding import Decoded, decode, positions_of
from rewardranker.generation.recording import make_sample, record_fields, stop_texts
from rewardranker.generation.stopping import StopTexts
from rewardranker.generation.streams import random_streams
from rewardranker.prompts import encode_prompt
from rewardranker.types import Sample, Task


class TransformersSampler:
    """A `types.Sampler` that decodes in this process, on whatever device the model is.

    What a record holds is told at `recording.make_sample`, which texts end a completion at `recording.stop_texts`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        options: SamplingOptions,
        prompt: PromptOptions,
        name: str,
        end_token_ids: Collection[int] | None = None,
    ) -> None:
        """
        Args:
            model: a causal language model of transformers.
            tokenizer: its tokenizer.
            options: temperature 0 is greedy; `options.n` is not used (see `sample`).
            prompt: how a task becomes the model's input.
            name: written into each sample.
            end_token_ids: tokens that end a program; None: the tokenizer's end token and those of the model's
                generation settings (chat models have several).

        Raises:
            ModelError: no end token is known.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        self.prompt = prompt
        self.name = name
        self.end_token_ids = frozenset(find_end_tokens(model, tokenizer) if end_token_ids is None else end_token_ids)
        if end_token_ids is None and not self.end_token_ids:
            raise ModelError(f"neither the tokenizer nor the model '{name}' names an end token: give end_token_ids")

    @property
    def record_fields(self) -> dict[str, str | int | float]:
        """Columns that are the same in every sample of this sampler."""
        return record_fields(self.options, self.name)

    @property
    def batch_tasks(self) -> int:
        """Tasks decoded together."""
        return self.options.batch_tasks

    def sample(self, tasks: Sequence[Task], n: int, *, round: int = 0) -> Iterator[list[Sample]]:
        """Yield the `n` samples of each task, in order, `options.batch_tasks` tasks at a time.

        Raises:
            ModelError: a task's prompt and `max_new_tokens` exceed the model's positions; the model can't be decoded
                here.
            ValueError: `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}: draw at least one sample a task")
        for start in range(0, len(tasks), self.options.batch_tasks):
            yield from self._sample_batch(tasks[start : start + self.options.batch_tasks], n, round)

    def _sample_batch(self, tasks: Sequence[Task], n: int, round: int) -> list[list[Sample]]:
        options = self.options
        encoded = [self._encode(task) for task in tasks]
        greedy = options.temperature == 0
        drawn = 1 if greedy else n  # greedy samples of a task are all the same
        row_tasks = [task for task in tasks for _ in range(drawn)]
        prompts = [ids for ids in encoded for _ in range(drawn)]
        streams = None
        if not greedy:
            numbers = list(range(n)) * len(tasks)
            streams = random_streams(
                options.seed, [task.task_id for task in row_tasks], numbers, options.max_new_tokens
            )
        known: dict[tuple[str, ...], StopTexts] = {}
        stops = [self._stop_texts(task, known) for task in row_tasks]
        try:
            decoded = decode(
                self.model,
                prompts,
                streams,
                temperature=options.temperature,
                top_p=options.top_p,
                max_new_tokens=options.max_new_tokens,
                eos_token_ids=self.end_token_ids,
                pad_token_id=self.tokenizer.pad_token_id or 0,
                stop_check=(lambda row, ids: stops[row].completed(ids)) if any(stops) else None,
                max_rows=options.max_rows,
            )
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"out of device memory with {min(len(prompts), options.max_rows or len(prompts))} rows of up to "
                f"{options.max_new_tokens} new tokens: set or lower sampling.max_rows, lower sampling.batch_tasks or "
                "sampling.max_new_tokens"
            ) from error
        samples = []
        for index, task in enumerate(tasks):
            rows = [index * drawn + (0 if greedy else number) for number in range(n)]
            samples.append([self._record(task, i, decoded[row], stops[row], round) for i, row in enumerate(rows)])
        return samples

    def _stop_texts(self, task: Task, known: dict[tuple[str, ...], StopTexts]) -> StopTexts:
        texts = stop_texts(self.options, self.prompt, task)
        if texts not in known:
            known[texts] = StopTexts(self.tokenizer, texts)
        return known[texts]

    def _encode(self, task: Task) -> list[int]:
        ids = encode_prompt(self.tokenizer, task.prompt, self.prompt)
        limit = positions_of(self.model)
        if not ids:
            raise ModelError(f"task '{task.task_id}': its prompt has no tokens and the tokenizer no start token")
        if limit is not None and len(ids) + self.options.max_new_tokens > limit:
            raise ModelError(
                f"task '{task.task_id}': prompt of {len(ids)} tokens and sampling.max_new_tokens="
                f"{self.options.max_new_tokens} exceed the {limit} positions of '{self.name}': lower "
                "sampling.max_new_tokens, or leave this task out"
            )
        return ids

    def _record(self, task: Task, sample_id: int, decoded: Decoded, stop: StopTexts, round: int) -> Sample:
        ids = decoded.token_ids
        written = ids[:-1] if ids and ids[-1] in self.end_token_ids else ids
        text, count = stop.cut(written)
        kept = len(ids) if count is None else count
        return make_sample(
            task,
            sample_id,
            text,
            self.options,
            self.prompt,
            self.name,
            token_ids=ids[:kept],
            logprobs=decoded.logprobs[:kept],
            finish_reason=decoded.finish_reason if count is None else "stop",
            round=round,
        )


def find_end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The end tokens that the tokenizer and the model's generation settings name."""
    found = {tokenizer.eos_token_id}
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found |= set(listed) if isinstance(listed, list | tuple) else {listed}
    return {int(token) for token in found if token is not None}
