"""Models spread over processes (DDP, FSDP, DeepSpeed): computing inside them, and putting them together again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from rewardranker import processes
from rewardranker.training.models import merged

T = TypeVar("T")


def inside(wrapped: Any, bare: Any, compute: Callable[[], T]) -> T:
    """`compute()` as the forward pass of `wrapped`, the wrapper of the model `bare`.

    A wrapper gathers weights before the model's forward pass and prepares the exchange of gradients after it, so what
    is computed with the model's parts has to run in between.
    """
    if wrapped is bare and not hasattr(bare, "set_requires_gradient_sync"):  # no wrapper, and not FSDP2's model either
        return compute()
    own = bare.__dict__.get("forward")

    def forward(*_: Any, **__: Any) -> T:
        restore()
        return compute()

    def restore() -> None:
        bare.__dict__.pop("forward", None)
        if own is not None:
            bare.__dict__["forward"] = own

    bare.__dict__["forward"] = forward
    try:
        return wrapped()
    finally:
        restore()


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a sharded tensor; another tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def keep_whole(model: Any) -> Any | None:
    """A copy of the model on the CPU that a sharded one can be put back into; None where there will be no shards.

    Only the main process, which saves the model, keeps one.
    """
    if processes.kind() in ("fsdp", "deepspeed") and processes.is_main():
        return copy.deepcopy(model).to("cpu")
    return None


def put_together(accelerator: Any, wrapped: Any, bare: Any, whole: Any | None) -> Any:
    """The trained model without wrapper, shards and adapters; for shards on the main process alone, else None."""
    if processes.kind() not in ("fsdp", "deepspeed"):
        return merged(bare)
    weights = accelerator.get_state_dict(wrapped)  # all processes take part
    leave_new_models_whole()
    if whole is None:
        return None
    whole.load_state_dict(weights)
    return merged(whole)


def leave_new_models_whole() -> None:
    """Under ZeRO-3, transformers' arguments of a training make every model that is read after them one in shards: the
    next stage's, which is sampled from, or trained under arguments of its own. From here on it is whole."""
    if processes.kind() == "deepspeed":
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()
