"""Convolution whose input channels are scaled by a style.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 2.2.

The paper scales the weight for every sample. Here the input is scaled instead, the weight is shared, and what
demodulation divides by is a matrix product of the squared styles with the energy of the weight: the same numbers,
without a tensor of ``N`` weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from src.errors import UserError
from src.ops.layout import layout
from src.ops.resampled_convolution import conv2d_resample

__all__ = ["demodulation_coefficients", "modulated_conv2d", "pointwise_conv2d", "weight_energy"]

_EPSILON = 1e-8


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    *,
    up: int = 1,
    padding: int = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    energy: Tensor | None = None,
) -> Tensor:
    """Convolve with the weight modulated by a style per sample, perhaps after upsampling, and add noise.

    Differentiable any number of times. The demodulation is computed in float32 or better, whatever ``x`` is. float16
    overflows easily; there weight and styles are scaled to a largest value of 1 first, which demodulation undoes.

    Args:
        x: Floating [N, I, H, W]; in this type the convolution is computed.
        weight: float32 or float64 [O, I, k, k].
        styles: [N, I], of the type of ``weight``.
        noise: Added to the result; broadcast against [N, 1, H * up, W * up].
        up: Factor of upsampling.
        padding: Zeros on every side of the image, counted after upsampling.
        resample_filter: float32 [n] or [n, n], for ``up`` above 1.
        demodulate: Bring every output channel of every sample to the scale it has for inputs of unit variance.
        flip_weight: Correlate with the weight as it is; otherwise convolve with it. StyleGAN2 does the latter where
            it upsamples.
        energy: `weight_energy` of the weight, if that is known already.

    Returns:
        [N, O, H * up, W * up] if ``padding`` is ``k // 2``, of the type of ``x``.

    Raises:
        UserError: If channels or samples of the arguments do not match.
    """
    _check(x, weight, styles)
    if not demodulate and up == 1 and padding == 0 and weight.shape[2:] == (1, 1):
        y = pointwise_conv2d(x, (weight.flatten(1) * styles[:, None]).to(x.dtype))
        return y if noise is None else y + noise.to(y.dtype)
    coefficients = None
    if demodulate:
        energy = weight_energy(weight) if energy is None else energy
        if x.dtype == torch.float16:
            weight, styles, energy = _scaled_down(weight, styles, energy)
        coefficients = demodulation_coefficients(styles, energy).to(x.dtype)[:, :, None, None]
    y = conv2d_resample(
        x * styles.to(x.dtype)[:, :, None, None],
        weight.to(x.dtype),
        resample_filter,
        up=up,
        padding=padding,
        flip_weight=flip_weight,
    )
    if coefficients is not None and noise is not None:
        return torch.addcmul(noise.to(y.dtype), y, coefficients)
    y = y if coefficients is None else y * coefficients
    return y if noise is None else y + noise.to(y.dtype)


def pointwise_conv2d(x: Tensor, weights: Tensor) -> Tensor:
    """Convolve every sample with a 1x1 weight of its own; as a matrix product, which copies no image.

    Args:
        x: Floating [N, I, H, W].
        weights: [N, O, I], of the type of ``x``.

    Returns:
        [N, O, H, W], in the layout of ``x``.
    """
    if layout(x) is torch.channels_last:
        y = x.permute(0, 2, 3, 1).flatten(1, 2) @ weights.transpose(1, 2)
        return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
    return (weights @ x.flatten(2)).unflatten(2, x.shape[2:])


def weight_energy(weight: Tensor) -> Tensor:
    """Sum of squares over the window of a weight [O, I, k, k], as [O, I]."""
    if weight.stride(0) < weight.stride(1):  # the sum is many times slower across the order in memory
        return weight_energy(weight.transpose(0, 1)).t()
    return weight.square().sum((2, 3))


def demodulation_coefficients(styles: Tensor, energy: Tensor) -> Tensor:
    """What demodulation multiplies the output channels by, equation 3 of the paper.

    Args:
        styles: [N, I], float32 or float64.
        energy: [O, I], of the same type; of `weight_energy`.

    Returns:
        [N, O], one over the norm of each channel's modulated weight. Not in half precision under autocast either.
    """
    with torch.autocast(styles.device.type, enabled=False):
        return torch.rsqrt(styles.square() @ energy.t() + _EPSILON)


def _scaled_down(weight: Tensor, styles: Tensor, energy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All three as if each output channel of the weight, and each style, had a largest value of 1 and less.

    Demodulated results do not change with these scales, so they are constants to the gradient.
    """
    fan_in = math.prod(weight.shape[1:])
    scale = 1 / (math.sqrt(fan_in) * weight.detach().abs().amax((1, 2, 3)).clamp_min(_EPSILON))
    styles = styles / styles.detach().abs().amax(1, keepdim=True).clamp_min(_EPSILON)
    return weight * scale[:, None, None, None], styles, energy * scale.square()[:, None]


def _check(x: Tensor, weight: Tensor, styles: Tensor) -> None:
    if weight.ndim != 4 or x.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise UserError(
            "modulated_conv2d: x and weight are [N, I, H, W] and [O, I, k, k] with the same I, "
            f"found {list(x.shape)} and {list(weight.shape)}"
        )
    if styles.shape != x.shape[:2]:
        raise UserError(
            f"modulated_conv2d: styles is expected as [N, I], here {list(x.shape[:2])}, found {list(styles.shape)}"
        )
