"""Values that the operators on images must give, whichever implementation is in force."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from src import ops  # noqa: F401  (defines the operators)

FIR = torch.ops.privface.upfirdn2d
ACTIVATE = torch.ops.privface.bias_leaky_relu
DIFFERENTIATE = torch.ops.privface.bias_leaky_relu_gradient
DIFFERENTIATE_BOTH = torch.ops.privface.bias_leaky_relu_gradients

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
LAYOUTS = (torch.contiguous_format, torch.channels_last)
SHAPES = ((2, 3, 9, 11), (1, 17, 6, 37), (2, 40, 16, 16))

TAPS = {count: torch.linspace(-0.5, 1, count) / count for count in (1, 2, 3, 4, 5, 6, 7, 12)}

GEOMETRIES = [
    # taps along x and y, up x, up y, down x, down y, padding left, right, top, bottom
    (4, 4, 2, 2, 1, 1, 2, 1, 2, 1),
    (4, 4, 1, 1, 2, 2, 1, 1, 1, 1),
    (4, 4, 1, 1, 1, 1, 2, 2, 2, 2),
    (12, 12, 2, 2, 1, 1, 6, 5, 6, 5),
    (12, 12, 1, 1, 2, 2, 5, 5, 5, 5),
    (12, 12, 1, 1, 1, 1, 6, 5, 6, 5),
    (5, 6, 1, 1, 1, 1, 2, 2, 3, 2),
    (3, 2, 3, 2, 2, 3, 4, 3, 2, 5),
    (6, 7, 2, 1, 1, 2, 0, 9, 3, -1),
    (4, 12, 2, 2, 1, 1, -3, 5, 7, -2),
    (4, 4, 1, 1, 2, 2, -2, 0, -1, -1),
    (1, 1, 1, 1, 3, 2, 0, 0, 0, 0),
]

NUMBERS = [(0.2, 2**0.5, -1.0), (0.2, 2**0.5, 0.75), (0.0, 1.0, 1.0), (1.0, 0.5, -1.0)]
"""Slope, gain and clamp."""


def image(shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format, seed: int = 0) -> Tensor:
    """Normal values."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return values.contiguous(memory_format=layout)


def filtered(x: Tensor, filter_x: Tensor, filter_y: Tensor, *geometry: int) -> Tensor:
    """By the definition, in double precision."""
    up_x, up_y, down_x, down_y, *pads = geometry
    batch, channels, height, width = x.shape
    y = x.new_zeros(batch * channels, 1, height, up_y, width, up_x, dtype=torch.float64)
    y[:, :, :, 0, :, 0] = x.reshape(batch * channels, 1, height, width)
    y = F.pad(y.flatten(4).flatten(2, 3), [max(pad, 0) for pad in pads])
    y = F.pad(y, [min(pad, 0) for pad in pads])
    y = F.conv2d(y, filter_y.double().outer(filter_x.double())[None, None])[:, :, ::down_y, ::down_x]
    return y.reshape(batch, channels, *y.shape[2:])


def check_fir(
    geometry: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    """Compare with the definition, in double precision."""
    x = image(shape, dtype, layout)
    filters = TAPS[geometry[0]], TAPS[geometry[1]].flip(0)
    expected = filtered(x, *filters, *geometry[2:])
    _check(FIR(x, *filters, *geometry[2:]), expected, x)


def check_activation(
    numbers: tuple[float, float, float], shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    """Compare the activation and its gradients with the definition, in double precision."""
    slope, gain, clamp = numbers
    x, gradient = image(shape, dtype, layout), image(shape, dtype, torch.contiguous_format, seed=1)
    bias = image(shape[1:2], dtype, torch.contiguous_format, seed=2)
    wide = F.leaky_relu(x.double() + bias.double().view(-1, 1, 1), slope) * gain
    wide = wide.clamp(-clamp, clamp) if clamp >= 0 else wide
    y = ACTIVATE(x, bias, *numbers)
    _check(y, wide, x)

    expected = torch.where(y.double() > 0, gradient.double(), gradient.double() * slope) * gain
    expected = expected.where((y.abs() < clamp) | (clamp < 0), 0)
    _check(DIFFERENTIATE(gradient, y, *numbers), expected, x)
    gradient_x, gradient_bias = DIFFERENTIATE_BOTH(gradient, y, *numbers)
    _check(gradient_x, expected, x)
    total, magnitude = expected.sum((0, 2, 3)), expected.abs().sum((0, 2, 3))
    assert gradient_bias.dtype == dtype
    assert ((gradient_bias.double() - total).abs() <= _tolerance(dtype) * magnitude + 1e-12).all()


def check_all() -> None:
    """Every case once."""
    for dtype in DTYPES:
        for layout in LAYOUTS:
            for shape in SHAPES:
                for geometry in GEOMETRIES:
                    check_fir(geometry, shape, dtype, layout)
                for numbers in NUMBERS:
                    check_activation(numbers, shape, dtype, layout)


def _check(found: Tensor, expected: Tensor, like: Tensor) -> None:
    assert found.dtype == like.dtype
    assert found.shape == expected.shape
    layout = torch.contiguous_format if like.is_contiguous() else torch.channels_last
    assert found.is_contiguous(memory_format=layout)
    assert (found.double() - expected).abs().max() <= _tolerance(found.dtype) * (1 + expected.abs().max())


def _tolerance(dtype: torch.dtype) -> float:
    return {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 4e-3}[dtype]
