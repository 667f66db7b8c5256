"""Matrix products in float32 on AMD processors with AVX-512, at twice PyTorch's own speed.

PyTorch's x86 builds multiply float32 matrices with MKL, which gives such processors its AVX2 code. oneDNN, which every
build carries too, uses their full width. `speed_up` makes a model's large linear layers call it, forward and
backward; what they compute is the same up to rounding.

Guaranteed: nothing changes on other processors, for other devices and data types, or where the operator is missing or
gives another result than PyTorch's. Weights, their names, copies and saved files stay those of `nn.Linear`.
Not done: attention's own products, and layers that are no `nn.Linear` (GPT-2's `Conv1D`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_WEIGHTS = 100_000
"""Layers with fewer keep PyTorch's products: in small models most time goes elsewhere, and their results stay closer to
those of other processors."""
LEAST_PRODUCT = 2**21
"""Multiplications below which the call of oneDNN costs what it gains (20 rows with 100,000 weights)."""


def speed_up(model: Any) -> Any:
    """The same model, its linear layers calling oneDNN where this processor gains by it."""
    if gains():
        for module in model.modules():
            if type(module) is nn.Linear and module.weight.numel() >= LEAST_WEIGHTS:
                module.__class__ = OneDnnLinear
    return model


class OneDnnLinear(nn.Linear):
    """`nn.Linear` by oneDNN: large products of plain float32 tensors on a CPU; any other as ever."""

    def forward(self, input: Tensor) -> Tensor:
        """`[..., in]` -> `[..., out]`."""
        weight, bias = self.weight, self.bias
        if not _is_plain(input) or not _is_plain(weight) or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        if input.numel() * weight.shape[0] < LEAST_PRODUCT:
            return super().forward(input)
        result: Tensor = _Linear.apply(input, weight, bias)
        return result


def _is_plain(tensor: Tensor) -> bool:
    """Not one that FSDP or DeepSpeed has divided: those compute in their own way."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and type(tensor) in (Tensor, nn.Parameter)
        and not hasattr(tensor, "ds_id")
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        for_input, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            _product(gradient, weight.t(), None) if for_input else None,
            _product(rows.t(), input.reshape(-1, input.shape[-1]).t(), None) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )


def _product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`input @ weight.T + bias`."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return result


@cache
def gains() -> bool:
    """Whether this processor is of the kind, and the operator, which is PyTorch's own and may change, does its work."""
    if not _is_amd() or torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkl.is_available():
        return False
    made = torch.linspace(-1, 1, 48)
    input, weight, bias = made.sin().reshape(6, 8), made[:32].cos().reshape(4, 8), made[:4]
    try:
        found = (_product(input, weight, bias), _product(input[:, :4], weight.t(), None))
    except (AttributeError, RuntimeError, TypeError):
        return False
    expected = (functional.linear(input, weight, bias), input[:, :4] @ weight)
    return all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, expected, strict=True))


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
