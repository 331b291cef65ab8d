"""Upsampling, filtering and downsampling of images by separable taps."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from src.ops.layout import layout
from src.ops.triton_kernels.launch import OPTIONS, index_type, sum_type

__all__ = ["upfirdn2d"]

_ROWS = 8
_COLUMNS = 256


@triton.jit
def upfirdn2d_kernel(
    x: tl.tensor, filter_x: tl.tensor, filter_y: tl.tensor, out: tl.tensor,
    columns: int, height: int, width: int, inner: int, out_height: int, out_width: int,
    first_x: int, phase_x: int, first_y: int, phase_y: int,
    UP_X: tl.constexpr, UP_Y: tl.constexpr, DOWN_X: tl.constexpr, DOWN_Y: tl.constexpr,
    TAPS_X: tl.constexpr, TAPS_Y: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, INDEX: tl.constexpr, SUM: tl.constexpr,
) -> None:  # fmt: skip
    """A strip of ROWS rows of the output, of COLUMNS columns counted through all images.

    Images are [height, width, inner]: one of ``inner`` channels where channels are innermost, otherwise one of one
    channel for every channel. An input row is filtered along x once and added to all rows of the strip that it is in.
    """
    strips = tl.cdiv(out_height, ROWS)
    strip = tl.program_id(0) % strips
    column = (tl.program_id(0) // strips).to(INDEX) * COLUMNS + tl.arange(0, COLUMNS)
    channel = column % inner
    out_x = column // inner % out_width
    image = (column // inner // out_width).to(tl.int64)
    inside = column < columns
    source = x + image * height * width * inner + channel

    # The first tap that falls on a pixel, not on an inserted zero, and that pixel; every UP_X-th tap follows.
    place = (out_x * DOWN_X + phase_x).to(tl.int32)
    pixel = (place + (UP_X - 1)) // UP_X
    tap = pixel * UP_X - place
    pixel += first_x

    out_y = strip * ROWS + tl.arange(0, ROWS)
    first_row = (strip * ROWS * DOWN_Y + phase_y) // UP_Y
    total = tl.zeros((ROWS, COLUMNS), SUM)
    for row in range(((ROWS - 1) * DOWN_Y + TAPS_Y - 1 + UP_Y - 1) // UP_Y + 1):
        y = first_y + first_row + row
        line = source + y.to(tl.int64) * width * inner
        pixels = tl.where((y >= 0) & (y < height), width, 0)
        filtered = tl.zeros((COLUMNS,), SUM)
        for step in tl.static_range((TAPS_X + UP_X - 1) // UP_X):
            weight = tl.load(filter_x + tap + step * UP_X, mask=tap + step * UP_X < TAPS_X, other=0.0)
            used = inside & (tap + step * UP_X < TAPS_X) & (pixel + step >= 0) & (pixel + step < pixels)
            value = tl.load(line + (pixel + step).to(tl.int64) * inner, mask=used, other=0.0)
            filtered += value.to(SUM) * weight.to(SUM)
        tap_y = (first_row + row) * UP_Y - (out_y * DOWN_Y + phase_y)
        used_y = (tap_y >= 0) & (tap_y < TAPS_Y)
        weight_y = tl.load(filter_y + tap_y, mask=used_y, other=0.0).to(SUM)
        # Zero times a row that is not finite would spread to outputs that do not touch it.
        total += tl.where(used_y[:, None], weight_y[:, None] * filtered[None, :], 0.0)

    target = out + ((image * out_height * out_width + out_x) * inner + channel)[None, :]
    target += (out_y.to(tl.int64) * out_width * inner)[:, None]
    tl.store(target, total.to(out.dtype.element_ty), mask=inside[None, :] & (out_y < out_height)[:, None])


def upfirdn2d(
    x: Tensor, filter_x: Tensor, filter_y: Tensor, up_x: int, up_y: int, down_x: int, down_y: int,
    pad_x0: int, pad_x1: int, pad_y0: int, pad_y1: int,
) -> Tensor:  # fmt: skip
    """The operator ``upfirdn2d`` for tensors on a GPU.

    Args:
        x: [N, C, H, W], of any floating type.
        filter_x: float32 [taps], correlated along the width.
        filter_y: float32 [taps], along the height.
        up_x: How many pixels each becomes by the insertion of zeros.
        up_y: The same along the height.
        down_x: Of how many pixels one is kept after filtering.
        down_y: The same along the height.
        pad_x0: Zeros before each row, after the insertion; if negative, pixels are cut off.
        pad_x1: Zeros after each row.
        pad_y0: Zeros above.
        pad_y1: Zeros below.

    Returns:
        [N, C, H', W'] of the type and the memory layout of ``x``.
    """
    order = layout(x)
    x = x.contiguous(memory_format=order)
    filter_x, filter_y = (taps.to(x.device, torch.float32).contiguous() for taps in (filter_x, filter_y))
    batch, channels, height, width = x.shape
    out_height = (height * up_y + pad_y0 + pad_y1 - len(filter_y) + down_y) // down_y
    out_width = (width * up_x + pad_x0 + pad_x1 - len(filter_x) + down_x) // down_x
    out = torch.empty((batch, channels, out_height, out_width), dtype=x.dtype, device=x.device, memory_format=order)
    inner = channels if order == torch.channels_last else 1
    columns = batch * channels * out_width
    if not out.numel():
        return out
    programs = triton.cdiv(out_height, _ROWS) * triton.cdiv(columns, _COLUMNS)
    with torch.cuda.device_of(x):
        upfirdn2d_kernel[(programs,)](
            x, filter_x, filter_y, out, columns, height, width, inner, out_height, out_width,
            -pad_x0 // up_x, -pad_x0 % up_x, -pad_y0 // up_y, -pad_y0 % up_y, up_x, up_y, down_x, down_y,
            len(filter_x), len(filter_y), _ROWS, _COLUMNS, index_type(columns), sum_type(x), **OPTIONS,
        )  # fmt: skip
    return out
