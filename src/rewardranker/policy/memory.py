"""Less memory for the updates of large policies, paid for with time."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from rewardranker.errors import ModelError


def recompute_layers(model: Any) -> None:
    """Keep only each layer's input for the backward pass, which computes the rest of the layer again.

    Layers do that in training mode alone. Each is put into it without the modules inside: dropout stays off. A
    key/value cache can't be written twice, so the model must be run without one while gradients are on.

    Raises:
        ModelError: the architecture's layers can't.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            f"{type(model).__name__} has no layers that can be recomputed: ppo.gradient_checkpointing=false"
        )
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        layer.training = True
