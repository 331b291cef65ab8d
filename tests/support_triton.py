"""Images, and what the kernels for GPUs are compared with."""

from __future__ import annotations

import os

import torch
import torch.nn.functional as F
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_GPU else "cpu"

OPERATORS = ("upfirdn2d", "bias_leaky_relu", "bias_leaky_relu_gradient", "hamming_distances", "hamming_topk")
TAPS = torch.tensor([1.0, 3, 3, 1]).to(DEVICE) / 8
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3, torch.float64: 1e-7}


def close(found: Tensor, expected: Tensor) -> bool:
    error = (found.double() - expected.double()).abs().max()
    return bool(error <= TOLERANCE[found.dtype] * (1 + expected.abs().max()))


def image(dtype: torch.dtype, channels_last: bool, *shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    return values.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def zeros_inserted_then_filtered(x: Tensor, filter_x: Tensor, filter_y: Tensor, *geometry: int) -> Tensor:
    """By the definition, in double precision."""
    up_x, up_y, down_x, down_y, *pads = geometry
    batch, channels, height, width = x.shape
    y = x.new_zeros(batch, channels, height, up_y, width, up_x, dtype=torch.float64)
    y[:, :, :, 0, :, 0] = x
    y = F.pad(y.reshape(batch * channels, 1, height * up_y, width * up_x), pads)
    y = F.conv2d(y, filter_y.outer(filter_x).to(y)[None, None])[:, :, ::down_y, ::down_x]
    return y.unflatten(0, (batch, channels))[:, :, 0]
