"""Bias, leaky ReLU, gain and clamp, against one operation of PyTorch after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.operators.measure import Case
from src.ops.bias_activation import bias_act

__all__ = ["cases"]

SHAPES = [(4, 512, 16, 16), (4, 512, 32, 32), (4, 256, 64, 64), (4, 64, 128, 128)]
GAIN = 2**0.5
CLAMP = 256 * GAIN
SETTINGS = [
    # type, layout, target forward, target backward
    (torch.float32, torch.contiguous_format, 4.0, 4.0),
    (torch.float32, torch.channels_last, 4.0, 4.0),
    (torch.bfloat16, torch.contiguous_format, 5.0, 5.0),
    (torch.bfloat16, torch.channels_last, 5.0, 5.0),
]


def cases() -> Iterator[Case]:
    """The activations of StyleGAN2's convolutions, forward and backward to the input and the bias."""
    for dtype, layout, forward, backward in SETTINGS:
        for shape in SHAPES:
            x = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout)
            bias = torch.randn(shape[1], dtype=dtype)
            kind = f"{str(dtype).removeprefix('torch.')}{', channels last' if layout == torch.channels_last else ''}"
            name = f"{list(shape)}, {kind}"
            yield Case(name, _forward(ours, x, bias), _forward(plain, x, bias), 2 * x.nbytes, forward)
            yield Case(f"{name}, backward", _backward(ours, x, bias), _backward(plain, x, bias), 3 * x.nbytes, backward)


def ours(x: Tensor, bias: Tensor) -> Tensor:
    """In one pass."""
    return bias_act(x, bias, act="lrelu", clamp=CLAMP)


def plain(x: Tensor, bias: Tensor) -> Tensor:
    """As the reference of the published implementation does it."""
    return (F.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2) * GAIN).clamp(-CLAMP, CLAMP)


def _forward(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, bias: Tensor) -> Callable[[], object]:
    return lambda: function(x, bias)


def _backward(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, bias: Tensor) -> Callable[[], object]:
    inputs = [x.clone().requires_grad_(), bias.clone().requires_grad_()]
    y = function(*inputs)
    gradient = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, inputs, gradient, retain_graph=True)
