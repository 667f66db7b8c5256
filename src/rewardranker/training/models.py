"""Reading a transformers model in training: its states, its head, its adapters, its device."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import torch
from transformers.utils import logging as transformers_logging

from rewardranker.errors import MissingExtraError, ModelError
from rewardranker.models import choose_device


def length_limit(max_length: int, model: Any) -> int:
    """`max_length`, or fewer where the model has fewer positions."""
    return min(max_length, getattr(model.config, "max_position_embeddings", None) or max_length)


def plain_model(model: Any) -> Any:
    """The transformers model itself, from inside LoRA's wrapper where there is one."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model


def hidden_states(model: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """Last hidden states `[rows, tokens, hidden]` of right-padded rows.

    No attention mask is given: in a causal model no token reads what stands to its right, so padding there changes
    nothing, and attention without a mask takes the faster kernels.
    """
    return plain_model(model).base_model(input_ids=input_ids, use_cache=False).last_hidden_state


@torch.inference_mode()
def has_plain_head(model: Any) -> bool:
    """Whether the logits are the output embedding of the last hidden states, without scaling or soft caps."""
    training = model.training
    model.eval()
    ids = torch.arange(4, device=model.device)[None]
    plain = plain_model(model)
    expected = plain(input_ids=ids, use_cache=False).logits.float()
    found = plain.get_output_embeddings()(hidden_states(model, ids)).float()
    model.train(training)
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def with_lora(model: Any, rank: int, alpha: int, task: Literal["CAUSAL_LM", "SEQ_CLS"], seed: int) -> Any:
    """`model` with LoRA adapters (Hu et al. 2021) on all linear layers; a score head stays fully trained.

    The adapters are float32 whatever the precision of the weights below, so that no update is lost in rounding. They
    are drawn from `seed` alone: a training that is started again before its first checkpoint begins as before.

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("peft", "lora") from None
    head = ["score"] if task == "SEQ_CLS" else None
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type=task, modules_to_save=head)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def merged(model: Any) -> Any:
    """The plain model with its LoRA adapters added into the weights; a model without any as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def merged_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of `merged(model)` under the plain model's names, one at a time; the model stays as it is.

    Only the weight that is asked for is computed, so no second model is in memory. The sum has the precision of the
    weights below the adapters, as with `merged`: in bfloat16 what adds less than a 512th to a weight is lost.
    """
    plain = plain_model(model)
    adapted = {name: layer for name, layer in plain.named_modules() if hasattr(layer, "lora_A")}
    for name, weight in plain.state_dict().items():
        layer, below, rest = name.partition(".base_layer.")
        if below:
            yield f"{layer}.{rest}", _with_adapters(adapted[layer], weight) if rest == "weight" else weight
        elif name.partition(".lora_")[0] not in adapted:  # not an adapter
            yield name, weight


@torch.no_grad()
def _with_adapters(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    for adapter in layer.active_adapters:
        weight = (weight + layer.get_delta_weight(adapter)).to(weight.dtype)  # rounded once, as peft's own merging does
    return weight


def training_device(device: str) -> str:
    """`auto` resolved; a training runs on the CPU or on the first visible GPU.

    Raises:
        ModelError: another device.
    """
    device = choose_device(device)
    if device not in ("cpu", "cuda", "cuda:0"):
        raise ModelError(f"training can't use device {device}: set CUDA_VISIBLE_DEVICES to it and launch.device=cuda")
    return device


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the bars, notes and warnings of transformers and peft, which say nothing to this package's users."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(transformers|peft)\.")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _on_standard_error(record: logging.LogRecord) -> bool:
    """DeepSpeed, where it is installed, logs on standard output, which is for results."""
    print(f"DeepSpeed: {record.getMessage()}", file=sys.stderr)
    return False


logging.getLogger("DeepSpeed").addFilter(_on_standard_error)
