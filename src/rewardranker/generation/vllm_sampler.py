"""Programs from vLLM in this process: Task -> Samples. The only file that imports vLLM (extra `vllm`).

The n samples of a task are one request, whose prompt is read once; prompts that begin alike (a chat template, a system
message) share that beginning through vLLM's prefix cache; rows that end are replaced by waiting ones at each step.

Guarantees: each sample has a seed that depends on the sampling seed, the task and the sample's number alone;
log-probabilities are those at temperature 1 and without top-p. Not guaranteed: the same programs from batches of
another shape (vLLM's kernels round differently; its `VLLM_BATCH_INVARIANT=1` mends that where it is supported), nor the
programs of `TransformersSampler`, whose random numbers are others.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import MissingExtraError, ModelError
from rewardranker.generation.openai_sampler import request_seed
from rewardranker.generation.recording import make_sample, record_fields, stop_texts
from rewardranker.generation.stopping import StopTexts
from rewardranker.prompts import encode_prompt
from rewardranker.types import Sample, Task


class VLLMSampler:
    """A `types.Sampler` on an engine in this process.

    Tasks go to the engine `options.batch_tasks` at a time; some hundreds keep it full.
    """

    def __init__(
        self,
        model: str,
        options: SamplingOptions,
        prompt: PromptOptions,
        name: str | None = None,
        *,
        dtype: str = "auto",
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            model: a folder with safetensors and a tokenizer, or a hub name.
            name: written into each sample; None: `model`.
            dtype: `auto` (the model's own), `float32`, `bfloat16` or `float16`.
            engine: vLLM's own arguments: `gpu_memory_utilization`, `max_model_len`, `tensor_parallel_size`, ...

        Raises:
            MissingExtraError: vLLM is not installed.
            ModelError: vLLM can't load the model.
        """
        # The engine in this very process: no copy of the weights is needed to change them (`load_weights`), and its
        # schedule does not depend on how fast another process answers. Workers of several GPUs are processes anyway.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            import vllm
            from vllm.platforms import current_platform
        except ModuleNotFoundError as error:
            if error.name != "vllm":
                raise
            raise MissingExtraError("vllm", "vllm") from None
        if not Path(model).is_dir() and "/" not in model:
            raise ModelError(f"model '{model}': vLLM reads a folder that `save_pretrained` wrote, or a hub name")
        self.options, self.prompt, self.name = options, prompt, name or model
        self._vllm = vllm
        defaults: dict[str, Any] = {"dtype": dtype, "seed": 0, "enable_prefix_caching": True}
        if processes.world_size() > 1:
            # An engine for each process of the launch, on the process's own GPU: vLLM counts them as one group, in
            # which each stands alone.
            defaults["distributed_executor_backend"] = "external_launcher"
        if current_platform.is_cpu():
            # vLLM 0.32 fails there when the prompt of a request with a seed is divided between two steps.
            defaults["enable_chunked_prefill"] = False
        try:
            self._engine = vllm.LLM(model, **{**defaults, **(engine or {})})
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            raise ModelError(
                f"vLLM can't load '{model}': {error}; its own arguments are given by --engine-option (of PPO: by "
                "ppo.vllm), such as max_model_len=4096 or gpu_memory_utilization=0.7"
            ) from error
        self.tokenizer = self._engine.get_tokenizer()

    @property
    def record_fields(self) -> dict[str, str | int | float]:
        """Columns that are the same in every sample of this sampler."""
        return record_fields(self.options, self.name)

    @property
    def batch_tasks(self) -> int:
        """Tasks given to the engine together."""
        return self.options.batch_tasks

    def sample(self, tasks: Sequence[Task], n: int, *, round: int = 0) -> Iterator[list[Sample]]:
        """Yield the `n` samples of each task, in order, `options.batch_tasks` tasks at a time.

        Raises:
            ModelError: a task's prompt and `max_new_tokens` exceed the engine's `max_model_len`.
            ValueError: `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}: draw at least one sample a task")
        greedy = self.options.temperature == 0
        for start in range(0, len(tasks), self.options.batch_tasks):
            batch = tasks[start : start + self.options.batch_tasks]
            outputs = self._engine.generate(
                [{"prompt_token_ids": self._encode(task)} for task in batch],
                [self._parameters(task, 1 if greedy else n) for task in batch],
                use_tqdm=False,
            )
            for task, output in zip(batch, outputs, strict=True):
                written = sorted(output.outputs, key=lambda one: one.index) * (n if greedy else 1)
                yield [self._record(task, number, one, round) for number, one in enumerate(written)]

    def load_weights(self, named: Iterable[tuple[str, Any]]) -> None:
        """Go on with other weights of the same model, such as those of a policy in training.

        Args:
            named: names as in the model's `state_dict` in transformers, and tensors of any device and precision. They
                are asked for one by one where the engine has no workers in other processes.

        Raises:
            ModelError: vLLM keeps states that the old weights computed.
        """
        alone = self._engine.llm_engine.vllm_config.parallel_config.world_size == 1
        weights = iter(named) if alone else iter(list(named))  # a list can be sent
        # Not the model's own `load_weights`: after loading, vLLM packs weights as its kernels want them.
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if not self._engine.reset_prefix_cache():
            raise ModelError("vLLM has requests under way and can't forget what the old weights computed")

    def sleep(self) -> None:
        """Free the GPU's memory; the weights wait in the machine's. For an engine with `enable_sleep_mode`."""
        # Level 2 would not keep the weights, which are replaced anyway, but models came back damaged from it
        # (vllm-project/vllm issue 29341).
        self._engine.sleep(level=1)

    def wake_up(self) -> None:
        """Go on after `sleep`."""
        self._engine.wake_up()

    def close(self) -> None:
        """Give all memory back. In a launch of several processes the engine stays: it would end their group with it."""
        if processes.world_size() == 1:
            self._engine.llm_engine.engine_core.shutdown()
            del self._engine
            gc.collect()

    def _parameters(self, task: Task, n: int) -> Any:
        options = self.options
        return self._vllm.SamplingParams(
            n=n,
            temperature=options.temperature,
            top_p=options.top_p,
            max_tokens=options.max_new_tokens,
            seed=request_seed(options.seed, task.task_id, 0),  # sample i of a request gets the seed plus i
            stop=list(stop_texts(options, self.prompt, task)),
            logprobs=0,  # that of the chosen token alone
        )  # vLLM ends at the tokenizer's end token and at those of the model's generation settings by itself

    def _encode(self, task: Task) -> list[int]:
        ids = encode_prompt(self.tokenizer, task.prompt, self.prompt)
        limit = self._engine.model_config.max_model_len
        if not ids:
            raise ModelError(f"task '{task.task_id}': its prompt has no tokens and the tokenizer no start token")
        if len(ids) + self.options.max_new_tokens > limit:
            raise ModelError(
                f"task '{task.task_id}': prompt of {len(ids)} tokens and sampling.max_new_tokens="
                f"{self.options.max_new_tokens} exceed max_model_len={limit} of '{self.name}': lower "
                "sampling.max_new_tokens, raise max_model_len, or leave this task out"
            )
        return ids

    def _record(self, task: Task, sample_id: int, output: Any, round: int) -> Sample:
        if output.finish_reason not in ("stop", "length"):
            raise ModelError(f"task '{task.task_id}': vLLM gave a request up ({output.finish_reason})")
        ids = list(output.token_ids)
        at_end_token = output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
        # Decoded here as for the other sampler: vLLM's own text lacks a last character that is not whole.
        stops = StopTexts(self.tokenizer, stop_texts(self.options, self.prompt, task))
        text, _ = stops.cut(ids[:-1] if at_end_token else ids)
        return make_sample(
            task,
            sample_id,
            text,
            self.options,
            self.prompt,
            self.name,
            token_ids=ids,
            logprobs=[step[token].logprob for step, token in zip(output.logprobs, ids, strict=True)],
            finish_reason=output.finish_reason,
            round=round,
        )
