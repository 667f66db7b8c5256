"""The SFT generator that the KL penalty holds on to, without a second model in memory where LoRA is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_adapters(model: Any) -> Iterator[Any]:
    """The model as it was before LoRA adapters were put into it; a model without any as it is.

    Adapters are switched, not removed: after the context the same parameters are trained as before it.
    """
    layers = [layer for layer in model.modules() if hasattr(layer, "base_layer") and hasattr(layer, "enable_adapters")]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield model
    finally:
        for layer in layers:
            layer.enable_adapters(True)
