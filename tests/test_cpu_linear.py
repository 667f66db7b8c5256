from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from rewardranker import cpu_linear
from rewardranker.cpu_linear import OneDnnLinear, speed_up

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@pytest.fixture(autouse=True)
def least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers and products of any size go to oneDNN."""
    monkeypatch.setattr(cpu_linear, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(cpu_linear, "LEAST_PRODUCT", 0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each product that oneDNN was asked for."""
    found: list[int] = []
    product = cpu_linear._product

    def counted(*arguments: Tensor | None) -> Tensor:
        found.append(1)
        return product(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cpu_linear, "_product", counted)
    return found


def layers(bias: bool = True) -> tuple[nn.Linear, OneDnnLinear]:
    """A layer of PyTorch's and ours with the same weights."""
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias=bias)
    ours = copy.deepcopy(plain)
    ours.__class__ = OneDnnLinear
    assert isinstance(ours, OneDnnLinear)
    return plain, ours


@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (2, 3, 24)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_results_are_those_of_pytorchs_layer(shape: tuple[int, ...], bias: bool) -> None:
    plain, ours = layers(bias)
    x = torch.randn(shape)
    assert torch.allclose(ours(x), plain(x), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_pytorchs_layer(bias: bool) -> None:
    gradients = []
    for layer in layers(bias):
        x = torch.linspace(-1, 1, 5 * 3 * 24).reshape(5, 3, 24).requires_grad_()
        layer(x).sin().sum().backward()
        gradients.append([x.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_frozen_weight_costs_no_product(calls: list[int]) -> None:
    _, ours = layers()
    ours.requires_grad_(False)
    ours(torch.randn(4, 24, requires_grad=True)).sum().backward()
    assert len(calls) == 2  # forward, and the input's gradient


def test_a_view_of_other_strides_is_read_rightly() -> None:
    plain, ours = layers()
    x = torch.randn(24, 6).t()
    assert torch.allclose(ours(x), plain(x), atol=1e-5)


def test_small_products_are_pytorchs(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linear, "LEAST_PRODUCT", 3 * 24 * 40)
    _, ours = layers()
    ours(torch.randn(2, 24))
    assert calls == []
    ours(torch.randn(3, 24))
    assert len(calls) == 1


def test_other_precisions_are_pytorchs(calls: list[int]) -> None:
    _, ours = layers()
    ours.bfloat16()(torch.randn(8, 24, dtype=torch.bfloat16))
    assert calls == []


def test_autocast_is_pytorchs(calls: list[int]) -> None:
    _, ours = layers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(torch.randn(8, 24)).dtype == torch.bfloat16
    assert calls == []


def test_state_is_that_of_a_plain_layer() -> None:
    plain, ours = layers()
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert type(copy.deepcopy(ours)) is OneDnnLinear


def test_a_model_is_changed_only_where_the_processor_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    for gains, expected in ((False, nn.Linear), (True, OneDnnLinear)):
        monkeypatch.setattr(cpu_linear, "gains", lambda gains=gains: gains)
        model = speed_up(nn.Sequential(nn.Linear(2, 2)))
        assert type(model[0]) is expected


def test_small_layers_stay_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_linear, "gains", lambda: True)
    monkeypatch.setattr(cpu_linear, "LEAST_WEIGHTS", 12)
    model = speed_up(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    assert [type(layer) for layer in model] == [OneDnnLinear, nn.Linear]


def test_an_operator_that_is_missing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: Tensor | None) -> Tensor:
        raise AttributeError("no such operator")

    cpu_linear.gains.cache_clear()
    monkeypatch.setattr(cpu_linear, "_is_amd", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    try:
        assert cpu_linear.gains()
        cpu_linear.gains.cache_clear()
        monkeypatch.setattr(cpu_linear, "_product", missing)
        assert not cpu_linear.gains()
    finally:
        cpu_linear.gains.cache_clear()


def test_a_model_trains_as_without(monkeypatch: pytest.MonkeyPatch, calls: list[int]) -> None:
    """A Llama, whose head shares the embedding's weights: losses and gradients of both are alike."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    plain = LlamaForCausalLM(config)
    monkeypatch.setattr(cpu_linear, "gains", lambda: True)
    ours = speed_up(copy.deepcopy(plain))
    tokens = torch.randint(0, 50, (3, 9))
    for model in (plain, ours):
        model(input_ids=tokens, labels=tokens).loss.backward()
    assert calls
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5)
