"""Bias, leaky rectifier, gain and clamp in one pass, and the gradient of that."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from src.ops.layout import layout
from src.ops.triton_kernels.launch import OPTIONS, sum_type

__all__ = ["bias_leaky_relu", "bias_leaky_relu_gradient"]

_BLOCK = 1024


@triton.jit
def bias_leaky_relu_kernel(
    x: tl.tensor, bias: tl.tensor, out: tl.tensor, rows: int, columns: int, channels: int,
    slope: float, gain: float, clamp: float,
    CLAMPED: tl.constexpr, INNERMOST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SUM: tl.constexpr,
) -> None:  # fmt: skip
    """A block of [rows, columns], whose columns are the channels if INNERMOST; otherwise each row is of one channel."""
    blocks = tl.cdiv(columns, COLUMNS)
    row = (tl.program_id(0) // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(0) % blocks).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    if INNERMOST:
        added = tl.load(bias + column, mask=column < columns, other=0.0)[None, :]
    else:
        added = tl.load(bias + row % channels)[:, None]
    place = row[:, None] * columns + column[None, :]
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    y = tl.load(x + place, mask=inside, other=0.0).to(SUM) + added.to(SUM)
    y = tl.where(y > 0, y, y * slope) * gain
    if CLAMPED:
        # Unlike a minimum and a maximum, comparisons let NaN pass.
        y = tl.where(y > clamp, clamp, tl.where(y < -clamp, -clamp, y))
    tl.store(out + place, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def bias_leaky_relu_gradient_kernel(
    gradient: tl.tensor, y: tl.tensor, out: tl.tensor, count: int, slope: float, gain: float, clamp: float,
    CLAMPED: tl.constexpr, BLOCK: tl.constexpr, SUM: tl.constexpr,
) -> None:  # fmt: skip
    """A block of elements, in whatever order the three tensors share."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    result = tl.load(y + place, mask=inside, other=0.0).to(SUM)
    value = tl.load(gradient + place, mask=inside, other=0.0).to(SUM)
    value = tl.where(result > 0, value, value * slope) * gain
    if CLAMPED:
        limit = tl.full((BLOCK,), clamp, SUM).to(y.dtype.element_ty).to(SUM)  # rounded as what was limited to it
        value = tl.where(tl.abs(result) >= limit, 0.0, value)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


def bias_leaky_relu(x: Tensor, bias: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    """The operator ``bias_leaky_relu`` for tensors on a GPU: clamp(gain * leaky(x + bias)).

    Args:
        x: [N, C, ...], of any floating type.
        bias: [C].
        slope: What values below 0 are multiplied by.
        gain: What all are multiplied by.
        clamp: Largest magnitude of the result; negative for no limit.

    Returns:
        A tensor of the shape, type and memory layout of ``x``.
    """
    order = layout(x)
    x = x.contiguous(memory_format=order)
    out = torch.empty_like(x, memory_format=order)
    if not x.numel():
        return out
    channels = x.shape[1]
    innermost = order == torch.channels_last or x.dim() == 2
    columns = channels if innermost else x.numel() // (len(x) * channels)
    rows = x.numel() // columns
    block_columns = min(triton.next_power_of_2(columns), _BLOCK)
    block_rows = _BLOCK // block_columns
    programs = triton.cdiv(rows, block_rows) * triton.cdiv(columns, block_columns)
    with torch.cuda.device_of(x):
        bias_leaky_relu_kernel[(programs,)](
            x, bias.contiguous(), out, rows, columns, channels, slope, gain, clamp,
            clamp >= 0, innermost, block_rows, block_columns, sum_type(x), **OPTIONS,
        )  # fmt: skip
    return out


def bias_leaky_relu_gradient(gradient: Tensor, y: Tensor, slope: float, gain: float, clamp: float) -> Tensor:
    """The operator ``bias_leaky_relu_gradient`` for tensors on a GPU.

    Args:
        gradient: Of the loss, by what `bias_leaky_relu` returned.
        y: What it returned, of the same shape.
        slope: As given there.
        gain: As given there, above 0.
        clamp: As given there.

    Returns:
        The gradient by ``x``, in the shape, type and memory layout of ``y``.
    """
    order = layout(y)
    y, gradient = (values.contiguous(memory_format=order) for values in (y, gradient))
    out = torch.empty_like(y, memory_format=order)
    if not y.numel():
        return out
    with torch.cuda.device_of(y):
        bias_leaky_relu_gradient_kernel[(triton.cdiv(y.numel(), _BLOCK),)](
            gradient, y, out, y.numel(), slope, gain, clamp, clamp >= 0, _BLOCK, sum_type(y), **OPTIONS
        )
    return out
