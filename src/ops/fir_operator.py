"""The operator ``privface::upfirdn2d``: upsample, filter by two filters of one dimension, downsample.

With X the input, each pixel followed by ``up - 1`` zeros, and 0 outside,
output[y, x] = sum over i, j of filter_y[i] filter_x[j] X[y down_y + i - pad_y0, x down_x + j - pad_x0].
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from src.ops.layout import layout
from src.ops.library import LIBRARY, define

__all__ = ["convolve", "convolve_separably", "output_size"]


def output_size(
    x: Tensor,
    filter_width: int,
    filter_height: int,
    up_x: int,
    up_y: int,
    down_x: int,
    down_y: int,
    pad_x0: int,
    pad_x1: int,
    pad_y0: int,
    pad_y1: int,
) -> tuple[int, int]:
    """Width and height of the output for images [N, C, H, W]; the numbers are those of the operator."""
    width = (x.shape[3] * up_x + pad_x0 + pad_x1 - filter_width + down_x) // down_x
    height = (x.shape[2] * up_y + pad_y0 + pad_y1 - filter_height + down_y) // down_y
    return width, height


def convolve(x: Tensor, filter: Tensor, *geometry: int) -> Tensor:
    """The operator in plain PyTorch, for any filter: one strided depthwise convolution.

    Args:
        x: Floating [N, C, H, W].
        filter: Floating [h, w].
        geometry: The whole numbers that the operator takes, in its order.
    """
    up_x, up_y, down_x, down_y, pad_x0, pad_x1, pad_y0, pad_y1 = geometry
    width, height = output_size(x, filter.shape[1], filter.shape[0], *geometry)
    format, channels = layout(x), x.shape[1]
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    weight = filter.to(values.dtype).expand(channels, 1, *filter.shape)
    if up_x == up_y == 1:
        inner, outer = _split_padding(pad_x0, pad_x1, pad_y0, pad_y1)
        y = F.conv2d(_pad(values, outer), weight, stride=(down_y, down_x), padding=inner, groups=channels)
    else:
        crops = (
            filter.shape[1] - 1 - pad_x0,
            filter.shape[1] - up_x - pad_x1,
            filter.shape[0] - 1 - pad_y0,
            filter.shape[0] - up_y - pad_y1,
        )
        inner, outer = _split_padding(*crops)
        turned = weight.flip((2, 3))
        y = F.conv_transpose2d(values, turned, stride=(up_y, up_x), padding=inner, groups=channels)
        y = _pad(y, [-crop for crop in outer])[:, :, ::down_y, ::down_x]
    return y[:, :, :height, :width].to(x.dtype).contiguous(memory_format=format)


def convolve_separably(x: Tensor, filter_x: Tensor, filter_y: Tensor, *geometry: int) -> Tensor:
    """The same for the outer product of two filters [w] and [h]."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return convolve(x, filter_y.to(dtype).outer(filter_x.to(dtype)), *geometry)


def _split_padding(left: int, right: int, top: int, bottom: int) -> tuple[tuple[int, int], list[int]]:
    """What a convolution can pad by itself, the same on both sides, as (y, x); and the rest."""
    x, y = max(min(left, right), 0), max(min(top, bottom), 0)
    return (y, x), [left - x, right - x, top - y, bottom - y]


def _pad(x: Tensor, pads: list[int]) -> Tensor:
    """Pad before cropping, for more may be cropped on one side than there was."""
    for part in ([max(pad, 0) for pad in pads], [min(pad, 0) for pad in pads]):
        x = F.pad(x, part) if any(part) else x
    return x


define(
    "upfirdn2d(Tensor x, Tensor filter_x, Tensor filter_y, int up_x, int up_y, int down_x, int down_y, "
    "int pad_x0, int pad_x1, int pad_y0, int pad_y1) -> Tensor",
    convolve_separably,
)


@torch.library.register_fake("privface::upfirdn2d", lib=LIBRARY)
def _fake(x: Tensor, filter_x: Tensor, filter_y: Tensor, *geometry: int) -> Tensor:
    width, height = output_size(x, len(filter_x), len(filter_y), *geometry)
    return torch.empty((*x.shape[:2], height, width), dtype=x.dtype, device=x.device, memory_format=layout(x))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, filter_x, filter_y, *ctx.geometry = inputs
    ctx.save_for_backward(filter_x, filter_y)
    ctx.height, ctx.width = x.shape[2:]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The adjoint is an operation of the same kind: up and down change places, the filters are turned round."""
    filter_x, filter_y = ctx.saved_tensors
    up_x, up_y, down_x, down_y, pad_x0, _, pad_y0, _ = ctx.geometry
    height, width = gradient.shape[2:]
    gradient_x = torch.ops.privface.upfirdn2d(
        gradient,
        filter_x.flip(0),
        filter_y.flip(0),
        down_x,
        down_y,
        up_x,
        up_y,
        len(filter_x) - 1 - pad_x0,
        ctx.width * up_x - width * down_x + pad_x0 - up_x + 1,
        len(filter_y) - 1 - pad_y0,
        ctx.height * up_y - height * down_y + pad_y0 - up_y + 1,
    )
    return gradient_x, *[None] * 10


torch.library.register_autograd("privface::upfirdn2d", _backward, setup_context=_keep, lib=LIBRARY)
