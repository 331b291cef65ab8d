"""Modulated convolution: golden values, the paper's definition, derivatives, half precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support_arcbifacegan import GOLDEN, assert_matches, normal
from torch import Tensor

from src.errors import UserError
from src.ops.fir import setup_filter
from src.ops.modulated_convolution import (
    demodulation_coefficients,
    modulated_conv2d,
    pointwise_conv2d,
    weight_energy,
)
from src.ops.resampled_convolution import for_transposed_convolution

FILTER = setup_filter([1, 3, 3, 1])
X, STYLES = normal(12, [2, 4, 8, 8]), normal(15, [2, 4]) + 1
WEIGHT, POINTWISE = normal(13, [5, 4, 3, 3]), normal(14, [5, 4, 1, 1])
UP: dict[str, Any] = {"up": 2, "padding": 1, "resample_filter": FILTER, "flip_weight": False}


def by_definition(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Equations 1 to 3 of the paper: a weight per sample, and one convolution whose groups are the samples."""
    weights = weight * styles[:, None, :, None, None]
    weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    y = F.conv2d(x.flatten(0, 1)[None], weights.flatten(0, 1), padding=weight.shape[-1] // 2, groups=len(x))
    return y.unflatten(1, (len(x), -1))[0]


@pytest.mark.parametrize(
    ("name", "weight", "options"),
    [
        ("modconv_fused", WEIGHT, {"padding": 1}),
        ("modconv_nofuse", WEIGHT, {"padding": 1}),
        ("modconv_nodemod", POINTWISE, {"demodulate": False}),
        ("modconv_up2", WEIGHT, UP),
    ],
)
def test_golden_values(name: str, weight: Tensor, options: dict[str, Any]) -> None:
    assert_matches(modulated_conv2d(X, weight, STYLES, **options), GOLDEN[f"op.{name}"])


def test_equals_the_definition_with_its_gradients() -> None:
    inputs = [value.double().requires_grad_() for value in (X, WEIGHT, STYLES)]
    y, expected = modulated_conv2d(*inputs, padding=1), by_definition(*inputs)
    upstream = normal(0, y.shape).double()
    torch.testing.assert_close(y, expected)
    for found, wanted in zip(
        torch.autograd.grad(y, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("weight", [WEIGHT, POINTWISE])
def test_noise_is_added(weight: Tensor, demodulate: bool) -> None:
    options: dict[str, Any] = {"padding": weight.shape[-1] // 2, "demodulate": demodulate}
    for noise in (normal(0, [2, 1, 8, 8]), normal(0, [8, 8])):
        y = modulated_conv2d(X, weight, STYLES, noise, **options)
        torch.testing.assert_close(y, modulated_conv2d(X, weight, STYLES, **options) + noise)


def test_scale_of_styles_does_not_matter_under_demodulation() -> None:
    y = modulated_conv2d(X, WEIGHT, STYLES, padding=1)
    torch.testing.assert_close(modulated_conv2d(X, WEIGHT, STYLES * 100, padding=1), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"padding": 1}, UP, {"padding": 1, "demodulate": False}])
def test_first_and_second_derivatives(options: dict[str, Any]) -> None:
    inputs = tuple(
        normal(seed, shape).double().requires_grad_()
        for seed, shape in enumerate([(2, 2, 3, 3), (2, 2, 3, 3), (2, 2), (2, 1, 1, 1)])
    )

    def convolve(*inputs: Tensor) -> Tensor:
        return modulated_conv2d(*inputs, **options)

    assert torch.autograd.gradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(convolve, inputs)


@pytest.mark.parametrize(
    "lay_out", [lambda w: w, lambda w: w.to(memory_format=torch.channels_last), for_transposed_convolution]
)
def test_energy_and_its_reuse(lay_out: Any) -> None:
    weight = lay_out(WEIGHT).requires_grad_()
    energy = weight_energy(weight)
    torch.testing.assert_close(energy, WEIGHT.square().sum((2, 3)))
    torch.testing.assert_close(torch.autograd.grad(energy.sum(), weight)[0], 2 * WEIGHT)
    y = modulated_conv2d(X, WEIGHT, STYLES, padding=1, energy=energy)
    torch.testing.assert_close(y, modulated_conv2d(X, WEIGHT, STYLES, padding=1))


def test_coefficients_are_not_rounded_under_autocast() -> None:
    energy = weight_energy(WEIGHT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coefficients = demodulation_coefficients(STYLES, energy)
    assert coefficients.dtype is torch.float32
    assert torch.equal(coefficients, demodulation_coefficients(STYLES, energy))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 4e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("options", [{"padding": 1}, UP])
def test_half_precision(dtype: torch.dtype, tolerance: float, options: dict[str, Any]) -> None:
    y = modulated_conv2d(X.to(dtype), WEIGHT, STYLES, **options)
    assert y.dtype is dtype
    torch.testing.assert_close(y.float(), modulated_conv2d(X, WEIGHT, STYLES, **options), rtol=0, atol=tolerance)


def test_float16_does_not_overflow() -> None:
    expected = modulated_conv2d(X, WEIGHT, STYLES, padding=1)
    y = modulated_conv2d(X.half(), 1e4 * WEIGHT, 1e4 * STYLES, padding=1)
    torch.testing.assert_close(y.float(), expected, rtol=0, atol=5e-3)


def test_float16_survives_a_weight_of_zeros() -> None:
    y = modulated_conv2d(X.half(), torch.zeros_like(WEIGHT), STYLES, padding=1)
    assert torch.equal(y, torch.zeros_like(y))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_has_layout_and_type_of_the_image(channels_last: bool, dtype: torch.dtype) -> None:
    format = torch.channels_last if channels_last else torch.contiguous_format
    x, noise = X.to(dtype=dtype, memory_format=format), normal(0, [2, 1, 8, 8])
    for y in (
        modulated_conv2d(x, WEIGHT, STYLES, noise, padding=1),
        modulated_conv2d(x, POINTWISE, STYLES, demodulate=False),
        modulated_conv2d(x, for_transposed_convolution(WEIGHT), STYLES, **UP),
    ):
        assert y.dtype is dtype
        assert y.is_contiguous(memory_format=format)


@pytest.mark.parametrize("channels_last", [False, True])
def test_pointwise(channels_last: bool) -> None:
    x = X.to(memory_format=torch.channels_last) if channels_last else X
    weights = normal(0, [2, 3, 4])
    torch.testing.assert_close(pointwise_conv2d(x, weights), torch.einsum("noi,nihw->nohw", weights, X))


def test_empty_batch() -> None:
    assert modulated_conv2d(X[:0], WEIGHT, STYLES[:0], padding=1).shape == (0, 5, 8, 8)


def test_errors_name_the_argument() -> None:
    with pytest.raises(UserError, match=r"x and weight .* found \[2, 3, 8, 8\] and \[5, 4, 3, 3\]"):
        modulated_conv2d(X[:, :3], WEIGHT, STYLES)
    with pytest.raises(UserError, match=r"styles is expected as \[N, I\], here \[2, 4\], found \[1, 4\]"):
        modulated_conv2d(X, WEIGHT, STYLES[:1])


def test_a_pointwise_weight_pads_too() -> None:
    x, weight, styles = torch.randn(2, 3, 4, 4), torch.randn(5, 3, 1, 1), torch.randn(2, 3)
    padded = modulated_conv2d(x, weight, styles, padding=1, demodulate=False)
    assert padded.shape == (2, 5, 6, 6)
    inner = modulated_conv2d(x, weight, styles, demodulate=False)
    torch.testing.assert_close(padded, torch.nn.functional.pad(inner, (1, 1, 1, 1)))
