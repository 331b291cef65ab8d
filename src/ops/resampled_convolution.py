"""Convolution joined with up- or downsampling, as StyleGAN2 does it.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", appendix B.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import UserError
from src.ops.fir import upfirdn2d
from src.ops.layout import layout

__all__ = ["conv2d_resample", "for_transposed_convolution"]


def conv2d_resample(
    x: Tensor,
    weight: Tensor,
    resample_filter: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    flip_weight: bool = True,
) -> Tensor:
    """Upsample, convolve and downsample, in the cheapest order that computes the same.

    Defined as `upfirdn2d` by ``up`` with gain ``up ** 2``, then a convolution, then `upfirdn2d` by ``down``; all
    padding at the first step.

    Args:
        x: Floating [N, I, H, W].
        weight: [O, I, k, k], of the type of ``x``. For ``up`` above 1 the layout of `for_transposed_convolution` is
            the fastest.
        resample_filter: float32 [n] or [n, n], best the former; None is the identity.
        up: Factor of upsampling.
        down: Factor of downsampling; not together with ``up``.
        padding: Zeros on every side of the image, counted after upsampling.
        flip_weight: Correlate with the weight as it is, as torch does; otherwise convolve with it.

    Returns:
        [N, O, H * up / down, W * up / down] if ``padding`` is ``k // 2`` for an odd ``k`` and the filter has an even
        number of taps.

    Raises:
        UserError: If ``up`` and ``down`` are both above 1.
    """
    if up > 1 and down > 1:
        raise UserError(f"conv2d_resample: one of up and down is 1, found up {up} and down {down}")
    if up > 1:
        return _upsampled(x, weight, resample_filter, up, padding, flip_weight)
    weight = _in_layout_of(x, weight if flip_weight else weight.flip((2, 3)))
    if down > 1:
        return _downsampled(x, weight, resample_filter, down, padding)
    return F.conv2d(x, weight, padding=padding)


def _downsampled(x: Tensor, weight: Tensor, filter: Tensor | None, down: int, padding: int) -> Tensor:
    taps = _taps(filter)
    pads = [padding + (taps - down + 1) // 2, padding + (taps - down) // 2] * 2
    if weight.shape[-1] == 1:
        return F.conv2d(upfirdn2d(x, filter, down=down, padding=pads), weight)
    return F.conv2d(upfirdn2d(x, filter, padding=pads), weight, stride=down)


def _upsampled(x: Tensor, weight: Tensor, filter: Tensor | None, up: int, padding: int, flip_weight: bool) -> Tensor:
    taps, size = _taps(filter), weight.shape[-1]
    before, after = padding + (taps + up - 1) // 2, padding + (taps - up) // 2
    if size == 1:
        return upfirdn2d(F.conv2d(x, weight), filter, up=up, padding=[before, after] * 2, gain=up**2)
    before, after = before - (size - 1), after - (size - up)
    crop = max(min(-before, -after), 0)
    weight = _in_layout_of(x, (weight.flip((2, 3)) if flip_weight else weight).transpose(0, 1))
    x = F.conv_transpose2d(x, weight, stride=up, padding=crop)
    return upfirdn2d(x, filter, padding=[before + crop, after + crop] * 2, gain=up**2)


def _in_layout_of(x: Tensor, weight: Tensor) -> Tensor:
    """Torch would turn a contiguous image to channels last for a weight that is."""
    return weight if layout(x) is torch.channels_last else weight.contiguous()


def _taps(filter: Tensor | None) -> int:
    return 1 if filter is None else filter.shape[-1]


def for_transposed_convolution(weight: Tensor) -> Tensor:
    """The same weight [O, I, k, k], in the order in memory that a transposed convolution in channels last reads.

    Without it every call reorders the weight, which in small images takes longer than the convolution.
    """
    return weight.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1)
