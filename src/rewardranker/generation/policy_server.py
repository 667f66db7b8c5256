"""PPO's programs from a vLLM server, which gets the policy's weights as they are now before every drawing.

The weights go through a folder that both sides see: the main process writes a file (LoRA adapters added in), tells the
server to read it, and has it forget what it had cached with the old weights; then every process asks for its own share.
The server is vLLM's own, of any number of GPUs, started with `VLLM_SERVER_DEV_MODE=1`, without which it has no such
requests. The weights are written into a new folder each time: on a network file system a replaced file may be read as
it was before.

Not guaranteed: that nobody else changes the server's weights: it belongs to one training.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from rewardranker import processes
from rewardranker.config import PromptOptions, SamplingOptions, VLLMOptions
from rewardranker.errors import ConfigError, ModelServerError
from rewardranker.generation.background import BackgroundLoop
from rewardranker.generation.openai_client import OpenAIClient
from rewardranker.generation.openai_sampler import OpenAISampler
from rewardranker.training import merged_weights
from rewardranker.types import Sample, Task

START = "start it with `VLLM_SERVER_DEV_MODE=1 vllm serve MODEL`"
KEY_VARIABLE = "OPENAI_API_KEY"
TIMEOUT = 3600.0
"""Seconds for one answer; reading the weights of a large model takes minutes."""


class PolicyServer:
    """A vLLM server whose weights this training sets."""

    def __init__(self, prompt: PromptOptions, options: VLLMOptions) -> None:
        """
        Args:
            options: with `url` and `weights_dir`, as the recipe's check demands.
        """
        self._prompt, self._url, self._folder = prompt, options.url or "", Path(options.weights_dir or "")
        self._concurrency = options.concurrency
        self._written: Path | None = None

    def check(self) -> None:
        """
        Raises:
            ModelServerError: the server can't be reached.
            ConfigError: it is not vLLM, has several models, or does not let its weights be changed.
        """
        kind = self._sampler(SamplingOptions(), None).check().kind
        if kind != "vllm":
            raise ConfigError(f"ppo.vllm.url={self._url}: the server is not vLLM ({kind or 'it does not say what'})")
        self._forget()

    def draw(
        self, model: Any, tokenizer: Any, tasks: Sequence[Task], n: int, sampling: SamplingOptions, round: int
    ) -> list[list[Sample]]:
        """`n` programs for each task from `model` as it is now; all processes of a launch call it together.

        Raises:
            ModelServerError: the server can't be reached, can't read the weights, or is used by others.
            ConfigError: `weights_dir` can't be written.
        """
        processes.on_main(lambda: self._hand_over(model))  # the others wait
        sampler = self._sampler(sampling, tokenizer)
        return list(sampler.sample(tasks, n, round=round)) if tasks else []

    def close(self) -> None:
        """Remove the weights that the server has read."""
        if self._written is not None:
            shutil.rmtree(self._written)
            self._written = None

    def _sampler(self, sampling: SamplingOptions, tokenizer: Any) -> OpenAISampler:
        return OpenAISampler(
            self._url,
            None,
            sampling,
            self._prompt,
            api_key=os.environ.get(KEY_VARIABLE) or None,
            max_concurrency=self._concurrency,
            timeout=TIMEOUT,
            logprobs="required",
            tokenizer=tokenizer,
        )

    def _hand_over(self, model: Any) -> None:
        folder = self._folder / f"policy-{uuid4().hex[:12]}"
        try:
            if self._written is None:  # a session before this one may have been killed
                for left in self._folder.glob("policy-*"):
                    shutil.rmtree(left)
            folder.mkdir(parents=True)
            write_weights(model, folder / "model.safetensors")
        except OSError as error:
            raise ConfigError(f"ppo.vllm.weights_dir={self._folder} can't be written: {error}") from None
        self._ask("collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder.absolute())}})
        self._forget()
        if self._written is not None:
            shutil.rmtree(self._written)
        self._written = folder

    def _forget(self) -> None:
        if not self._ask("reset_prefix_cache", {}).get("success"):
            raise ModelServerError(
                f"{self._url}: the server has requests of others under way: a server of PPO belongs to one training",
                url=self._url,
            )

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask vLLM for something that stands beside its OpenAI API."""
        root = self._url.rstrip("/").removesuffix("/v1")

        async def ask() -> dict[str, Any]:
            key = os.environ.get(KEY_VARIABLE) or None
            async with OpenAIClient(
                root, api_key=key, timeout=TIMEOUT, max_concurrency=1, retries=2, api_path=""
            ) as client:
                return await client.post(path, body)

        try:
            with BackgroundLoop() as loop:
                return loop.submit(ask()).result()
        except ModelServerError as error:
            if error.status in (404, 405):
                raise ConfigError(
                    f"ppo.vllm.url={self._url}: the server does not let its weights be changed: {START}"
                ) from None
            if path == "collective_rpc" and error.status is not None:
                raise ModelServerError(
                    f"{error} (does the server see ppo.vllm.weights_dir={self._folder} under this path?)",
                    status=error.status,
                    url=error.url,
                ) from None
            raise


def write_weights(model: Any, path: Path) -> None:
    """The weights of a policy as one safetensors file."""
    from safetensors.torch import save_file

    save_file({name: weight.to("cpu", copy=True).contiguous() for name, weight in merged_weights(model)}, path)
