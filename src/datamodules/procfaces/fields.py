"""Scalar fields that faces are drawn with: smooth steps, bells, lines of knots and value noise.

``Factors`` are the parameters of a batch as columns [B, 1] (or [B, k] for vectors), so that they broadcast
against per-pixel planes [B, P].
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Factors",
    "Vector",
    "bell",
    "box_filter",
    "dot",
    "interpolate_knots",
    "normalize",
    "sample",
    "smooth_rows",
    "smoothstep",
    "value_noise",
]

Factors = dict[str, Tensor]
Vector = tuple[Tensor, Tensor, Tensor]
"""x, y and z planes; kept apart because a stacked last axis of three is slow on CPUs."""

# The vectorised exponential is 50 to 100 times slower where the result underflows.
_LOWEST_EXPONENT = -18.0


def smoothstep(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Return the cubic step that rises from 0 at ``low`` to 1 at ``high``."""
    t = ((x - low) / (high - low)).clamp_(0, 1)
    return t * t * (3 - 2 * t)


def bell(distance: Tensor, width: Tensor | float, power: Tensor | float = 2.0) -> Tensor:
    """Return ``exp(-|distance / width| ** power / 2)``: a Gaussian, flatter on top for larger powers."""
    ratio = distance / width
    exponent = ratio * ratio if isinstance(power, float) and power == 2.0 else ratio.abs() ** power
    return exponent.mul_(-0.5).clamp_(min=_LOWEST_EXPONENT).exp_()


def dot(a: Vector, b: Vector) -> Tensor:
    """Return the scalar product of two vectors of planes."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalize(vector: Vector) -> Vector:
    """Return the vectors scaled to unit length; vectors shorter than 0.001 keep a smaller length."""
    scale = dot(vector, vector).clamp_min_(1e-6).rsqrt_()
    return vector[0] * scale, vector[1] * scale, vector[2] * scale


def interpolate_knots(positions: Tensor, values: Tensor, queries: Tensor) -> Tensor:
    """Interpolate linearly between knots, one line of knots per image.

    Args:
        positions: Ascending positions [B, K].
        values: Values at the knots [B, K]; constant beyond the ends.
        queries: Positions [Q] that all images share.

    Returns:
        Values [B, Q].
    """
    expanded = queries.expand(len(positions), -1).contiguous()
    right = torch.searchsorted(positions.contiguous(), expanded).clamp_(1, positions.shape[1] - 1)
    start, end = positions.gather(1, right - 1), positions.gather(1, right)
    t = ((expanded - start) / (end - start).clamp_min(1e-6)).clamp_(0, 1)
    return torch.lerp(values.gather(1, right - 1), values.gather(1, right), t)


def smooth_rows(values: Tensor, sigma: float) -> Tensor:
    """Blur each row of ``values`` [B, Q] with a Gaussian of ``sigma`` samples; the ends are replicated."""
    reach = int(3 * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    padded = functional.pad(values[:, None], (reach, reach), mode="replicate")
    return functional.conv1d(padded, (kernel / kernel.sum())[None, None])[:, 0]


@cache
def _box_matrix(length: int, width: int) -> Tensor:
    offsets = torch.arange(width) - width // 2
    columns = (torch.arange(length)[:, None] + offsets).clamp_(0, length - 1)
    return torch.zeros(length, length).scatter_add_(1, columns, torch.full(columns.shape, 1 / width))


def box_filter(maps: Tensor, width: int) -> Tensor:
    """Average over squares of ``width`` cells (odd); the border is replicated.

    Two products with banded matrices, which is several times faster than ``avg_pool2d`` on a CPU.

    Args:
        maps: Maps [B, V, U].
        width: Side of the square.

    Returns:
        Maps [B, V, U].
    """
    rows, columns = maps.shape[1:]
    return _box_matrix(rows, width) @ (maps @ _box_matrix(columns, width).T)


def sample(maps: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Look maps up bilinearly; outside of [-1, 1] the border is replicated.

    Args:
        maps: Maps [B, C, V, U] whose corner cells lie at ±1.
        u: Horizontal coordinates [B, P].
        v: Vertical coordinates [B, P].

    Returns:
        Values [B, C, P].
    """
    # Viewing complex numbers as pairs interleaves two planes six times faster than torch.stack.
    grid = torch.view_as_real(torch.complex(u.contiguous(), v.contiguous()))[:, None]
    values = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return values[:, :, 0]


@cache
def _noise_tile() -> Tensor:
    """Return the [1, 1, 192, 192] tile of band-limited noise with unit variance."""
    # The legacy stream is frozen by NumPy's compatibility policy, unlike those of the newer generators.
    cells = np.random.RandomState(7).randn(48, 48).astype(np.float32)
    tile = functional.pad(torch.from_numpy(cells)[None, None], (1, 1, 1, 1), mode="circular")
    tile = functional.pad(functional.avg_pool2d(tile, 3, 1), (2, 2, 2, 2), mode="circular")
    tile = functional.interpolate(tile, scale_factor=4, mode="bicubic", align_corners=False)[:, :, 8:-8, 8:-8]
    return (tile - tile.mean()) / tile.std()


def value_noise(phase: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Look up tiling value noise with zero mean, unit variance and period 2 in either coordinate.

    Args:
        phase: Offsets of u and v [B, 2].
        u: Horizontal coordinates [B, P].
        v: Vertical coordinates [B, P].

    Returns:
        Noise [B, P].
    """
    u, v = u + phase[:, :1], v + phase[:, 1:]
    u, v = u - 2 * (u * 0.5).floor_() - 1, v - 2 * (v * 0.5).floor_() - 1
    return sample(_noise_tile().expand(len(phase), -1, -1, -1), u, v)[:, 0]
