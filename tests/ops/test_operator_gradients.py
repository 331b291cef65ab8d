"""Derivatives of any order, and what torch.compile makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from support_operators import (
    ACTIVATE,
    DIFFERENTIATE,
    DIFFERENTIATE_BOTH,
    FIR,
    GEOMETRIES,
    LAYOUTS,
    TAPS,
    image,
)
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from src.ops import bias_activation
from src.ops.bias_activation import bias_act
from src.ops.fir import downsample2d, filter2d

SOURCE = Path(__file__).parents[2] / "src"
ALLOWED = {"ops/collectives.py"}
"""Communication between processes, which no compiled graph and no second derivative passes through."""

# Far from the kink and from the clamp, where there is no derivative.
AWAY = torch.tensor([0.3, -0.4, 0.5, -0.6, 2.0, -9.0], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _operators_for_small_tensors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bias_activation, "_SMALL", 0)
    yield
    torch.compiler.reset()


def away(shape: tuple[int, ...], layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    values = AWAY.repeat(torch.Size(shape).numel() // len(AWAY) + 1)[: torch.Size(shape).numel()]
    return values.view(shape).contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_fir(geometry: tuple[int, ...], layout: torch.memory_format) -> None:
    x = image((1, 2, 6, 7), torch.float64, layout).requires_grad_()

    def function(x: Tensor) -> Tensor:
        return FIR(x, TAPS[geometry[0]], TAPS[geometry[1]], *geometry[2:])

    assert gradcheck(function, x)
    assert gradgradcheck(function, x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("clamp", [-1.0, 1.0])
def test_activation(clamp: float, layout: torch.memory_format) -> None:
    x, bias = away((2, 3, 2, 2), layout), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, b: ACTIVATE(x, b, 0.2, 1.4, clamp), (x, bias))
    assert gradgradcheck(lambda x, b: ACTIVATE(x, b, 0.2, 1.4, clamp), (x, bias))
    gradient = image((2, 3, 2, 2), torch.float64, layout).requires_grad_()
    y = x.detach()
    for operator in (DIFFERENTIATE, DIFFERENTIATE_BOTH):
        assert gradcheck(lambda g, operator=operator: operator(g, y, 0.2, 1.4, clamp), gradient)
        assert gradgradcheck(lambda g, operator=operator: operator(g, y, 0.2, 1.4, clamp), gradient)


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"])
def test_every_activation(act: str) -> None:
    x, bias = away((2, 3, 2)), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, b: bias_act(x, b, act=act, clamp=2.1), (x, bias))
    assert gradgradcheck(lambda x, b: bias_act(x, b, act=act, clamp=2.1), (x, bias))


def test_only_what_is_asked_for() -> None:
    x, bias = away((2, 3, 2, 2)).detach(), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(bias_act(x, bias, act="lrelu").sum(), bias)
    assert gradient.shape == (3,)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(bias_act(x, bias.detach(), act="lrelu").sum(), x)
    assert gradient.shape == x.shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_registrations(layout: torch.memory_format) -> None:
    x = image((2, 3, 4, 5), torch.float32, layout).requires_grad_()
    bias = torch.ones(3, requires_grad=True)
    torch.library.opcheck(FIR.default, (x, TAPS[4], TAPS[3], 2, 1, 1, 2, 2, 1, 2, 1))
    torch.library.opcheck(ACTIVATE.default, (x, bias, 0.2, 1.4, 1.0))
    gradient = torch.ones_like(x).requires_grad_()
    y = x.detach()
    torch.library.opcheck(DIFFERENTIATE.default, (gradient, y, 0.2, 1.4, 1.0))
    torch.library.opcheck(DIFFERENTIATE_BOTH.default, (gradient, y, 0.2, 1.4, 1.0))


class Discriminator(nn.Module):
    """The steps of a discriminator's block, in small."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.float64) / 4)
        self.second = nn.Parameter(torch.randn(4, 4, 3, 3, generator=generator, dtype=torch.float64) / 6)
        self.skip = nn.Parameter(torch.randn(4, 2, 1, 1, generator=generator, dtype=torch.float64) / 2)
        self.bias = nn.Parameter(torch.randn(4, generator=generator, dtype=torch.float64) / 10)
        self.register_buffer("taps", torch.tensor([1.0, 3, 3, 1]) / 8)

    def forward(self, x: Tensor) -> Tensor:
        y = bias_act(torch.conv2d(x, self.first, padding=1), self.bias, act="lrelu", clamp=256)
        y = torch.conv2d(filter2d(y, self.taps, padding=1), self.second, stride=2)
        y = bias_act(y, self.bias, act="lrelu", clamp=256)
        return (y + torch.conv2d(downsample2d(x, self.taps), self.skip)).square().mean((1, 2, 3))


def penalty(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Squared norm of the logits' gradient with respect to the images, to be differentiated once more (R1)."""
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.square().sum()


def penalty_gradients(discriminator: Discriminator, run: Callable[[Tensor], Tensor]) -> list[Tensor]:
    discriminator.zero_grad()
    run(image((2, 2, 8, 8), torch.float64, torch.contiguous_format).requires_grad_()).backward()
    return [parameter.grad.clone() for parameter in discriminator.parameters() if parameter.grad is not None]


def test_gradient_penalty() -> None:
    discriminator = Discriminator()
    x = image((2, 2, 8, 8), torch.float64, torch.contiguous_format).requires_grad_()
    assert gradcheck(lambda *_: penalty(discriminator, x), tuple(discriminator.parameters()), atol=1e-4)


def test_one_graph_of_all() -> None:
    discriminator = Discriminator()
    compiled = torch.compile(discriminator, backend="aot_eager", fullgraph=True)
    x = image((2, 2, 8, 8), torch.float64, torch.contiguous_format).requires_grad_()
    torch.testing.assert_close(compiled(x), discriminator(x))
    inputs = [x, *discriminator.parameters()]
    found = torch.autograd.grad(compiled(x).sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad(discriminator(x).sum(), inputs))


def test_a_penalty_compiled_as_a_whole_is_right() -> None:
    discriminator = Discriminator()
    expected = penalty_gradients(discriminator, lambda x: penalty(discriminator, x))
    with torch._dynamo.config.patch(trace_autograd_ops=True):
        compiled = torch.compile(lambda x: penalty(discriminator, x), backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(penalty_gradients(discriminator, compiled), expected)


def test_a_penalty_of_a_compiled_network_raises() -> None:
    """It would be wrong: should this test fail some day, look whether the values are right before relying on them."""
    discriminator = Discriminator()
    compiled = torch.compile(discriminator, backend="aot_eager")
    with pytest.raises(RuntimeError, match="double backward"):
        penalty_gradients(discriminator, lambda x: penalty(compiled, x))


def test_no_autograd_function_in_operators_and_networks() -> None:
    """Compiled, the second derivative of one is silently wrong; operators are registered instead."""
    found = {
        str(path.relative_to(SOURCE))
        for folder in ("ops", "models")
        for path in (SOURCE / folder).rglob("*.py")
        if re.search(r"\bFunction\)\s*:", path.read_text())
    }
    assert found <= ALLOWED
