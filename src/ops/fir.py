"""Upsampling, filtering and downsampling of images, as StyleGAN2 does it (Karras et al. 2020, CVPR).

All functions take any floating type, keep it and keep the layout, and are differentiable any number of times with
respect to the images; filters are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from src.errors import UserError
from src.ops.fir_operator import convolve, convolve_separably, output_size

__all__ = ["downsample2d", "filter2d", "setup_filter", "upfirdn2d", "upsample2d"]

_SEPARABLE_TAPS = 8
"""Filters of so many taps stay one-dimensional, as in the networks' state dicts."""

Pair = int | Sequence[int]


def setup_filter(
    taps: Tensor | Sequence[float] | Sequence[Sequence[float]] | None,
    *,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1,
) -> Tensor:
    """A filter as networks store it.

    Args:
        taps: One or two dimensions; None is the identity.
        normalize: Divide it by its sum.
        flip_filter: Turn it round.
        gain: Factor of what it lets pass.

    Returns:
        float32, [n] if ``taps`` has one dimension and 8 or more values; then it stands for the outer product with
        itself. Otherwise [h, w].

    Raises:
        UserError: There are no taps, or more than two dimensions.
    """
    filter = torch.as_tensor(1.0 if taps is None else taps, dtype=torch.float32)
    if filter.ndim > 2 or filter.numel() == 0:
        raise UserError(f"filter: expected one or two dimensions of taps, found {list(filter.shape)}")
    filter = filter.reshape(-1) if filter.ndim == 0 else filter
    if filter.ndim == 1 and len(filter) < _SEPARABLE_TAPS:
        filter = filter.outer(filter)
    filter = filter / filter.sum() if normalize else filter
    filter = filter.flip(tuple(range(filter.ndim))) if flip_filter else filter
    return filter * gain ** (filter.ndim / 2)


def upfirdn2d(
    x: Tensor,
    filter: Tensor | None,
    *,
    up: Pair = 1,
    down: Pair = 1,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1,
) -> Tensor:
    """Insert zeros, pad, filter, and keep every so manieth pixel.

    Args:
        x: Floating [N, C, H, W].
        filter: float32 [n], which stands for its outer product with itself, or [h, w]; None is the identity. The
            first form is the faster one.
        up: Each pixel is followed by ``up - 1`` zeros. One number, or [x, y].
        down: Every ``down``-th pixel is kept, from the first on. One number, or [x, y].
        padding: Zeros around the upsampled image; less than 0 crops it. One number, [x, y] or [left, right, top,
            bottom].
        flip_filter: Correlate with the filter as it is; otherwise convolve, that is correlate with it turned round.
        gain: Factor of the result.

    Returns:
        [N, C, (H * up + top + bottom - h) // down + 1, (W * up + left + right - w) // down + 1].

    Raises:
        UserError: An argument does not fit, or nothing would be left of the image.
    """
    if filter is None:
        filter = torch.ones(1, device=x.device)
    up, down, pads = _pair("up", up), _pair("down", down), _padding(padding)
    _check(x, filter, up, down, pads)
    filter = filter.detach() if flip_filter else filter.detach().flip(tuple(range(filter.ndim)))
    factors = (filter, filter) if filter.ndim == 1 else _factors(filter)
    geometry = (*up, *down, *pads)
    if factors is None:
        return convolve(x, filter * gain, *geometry)
    filter_x, filter_y = factors[0] if gain == 1 else factors[0] * gain, factors[1]
    if x.dtype == torch.float16 and x.device.type == "cpu":
        return convolve_separably(x, filter_x, filter_y, *geometry)
    return torch.ops.privface.upfirdn2d(x, filter_x, filter_y, *geometry)


def upsample2d(
    x: Tensor, filter: Tensor | None, up: Pair = 2, *, padding: Pair = 0, flip_filter: bool = False, gain: float = 1
) -> Tensor:
    """Upsample images by a filter that keeps them in place; arguments as for `upfirdn2d`.

    Returns:
        [N, C, H * up, W * up], and the padding.
    """
    (up_x, up_y), pads, (width, height) = _pair("up", up), _padding(padding), _filter_size(filter)
    around = ((width + up_x - 1) // 2, (width - up_x) // 2, (height + up_y - 1) // 2, (height - up_y) // 2)
    total = [pad + extra for pad, extra in zip(pads, around, strict=True)]
    return upfirdn2d(x, filter, up=up, padding=total, flip_filter=flip_filter, gain=gain * up_x * up_y)


def downsample2d(
    x: Tensor, filter: Tensor | None, down: Pair = 2, *, padding: Pair = 0, flip_filter: bool = False, gain: float = 1
) -> Tensor:
    """Downsample images by a filter that keeps them in place; arguments as for `upfirdn2d`.

    Returns:
        [N, C, H // down, W // down] for sizes that ``down`` divides; padding enlarges the image before.
    """
    (down_x, down_y), pads, (width, height) = _pair("down", down), _padding(padding), _filter_size(filter)
    around = ((width - down_x + 1) // 2, (width - down_x) // 2, (height - down_y + 1) // 2, (height - down_y) // 2)
    total = [pad + extra for pad, extra in zip(pads, around, strict=True)]
    return upfirdn2d(x, filter, down=down, padding=total, flip_filter=flip_filter, gain=gain)


def filter2d(
    x: Tensor, filter: Tensor | None, *, padding: Pair = 0, flip_filter: bool = False, gain: float = 1
) -> Tensor:
    """Filter images and keep their size; arguments as for `upfirdn2d`.

    Returns:
        [N, C, H, W], and the padding.
    """
    pads, (width, height) = _padding(padding), _filter_size(filter)
    around = (width // 2, (width - 1) // 2, height // 2, (height - 1) // 2)
    total = [pad + extra for pad, extra in zip(pads, around, strict=True)]
    return upfirdn2d(x, filter, padding=total, flip_filter=flip_filter, gain=gain)


def _pair(name: str, value: Pair) -> tuple[int, int]:
    both = [value, value] if isinstance(value, int) else list(value)
    if len(both) != 2 or any(factor < 1 for factor in both):
        raise UserError(f"upfirdn2d: {name} is one or two whole numbers from 1, found {value}")
    return both[0], both[1]


def _padding(padding: Pair) -> tuple[int, int, int, int]:
    pads = [padding] * 2 if isinstance(padding, int) else list(padding)
    if len(pads) == 2:
        pads = [pads[0], pads[0], pads[1], pads[1]]
    if len(pads) != 4:
        raise UserError(f"upfirdn2d: padding is one, two or four whole numbers, found {padding}")
    return pads[0], pads[1], pads[2], pads[3]


def _filter_size(filter: Tensor | None) -> tuple[int, int]:
    return (1, 1) if filter is None else (filter.shape[-1], filter.shape[0])


def _check(
    x: Tensor, filter: Tensor, up: tuple[int, int], down: tuple[int, int], pads: tuple[int, int, int, int]
) -> None:
    if x.ndim != 4 or not x.is_floating_point():
        raise UserError(f"upfirdn2d: x is floating [N, C, H, W], found {x.dtype} {list(x.shape)}")
    if filter.ndim not in (1, 2) or filter.numel() == 0 or filter.dtype != torch.float32:
        raise UserError(f"upfirdn2d: filter is float32 [n] or [h, w], found {filter.dtype} {list(filter.shape)}")
    if filter.requires_grad:
        raise UserError("upfirdn2d: filter has no gradient; detach it")
    if filter.device != x.device:
        raise UserError(f"upfirdn2d: filter is expected on {x.device} as x is, found on {filter.device}")
    filter_width, filter_height = _filter_size(filter)
    width, height = output_size(x, filter_width, filter_height, *up, *down, *pads)
    if width < 1 or height < 1:
        raise UserError(
            f"upfirdn2d: nothing would be left of x {list(x.shape)}, enlarged {up} times and padded by {pads}, under a "
            f"filter of {filter_width} x {filter_height}"
        )


def _factors(filter: Tensor) -> tuple[Tensor, Tensor] | None:
    """The two filters, along x and y, of which a filter is the outer product; None if it is no such product.

    Only looked for where the values are at hand without waiting for a device or breaking a traced graph.
    """
    if filter.device.type != "cpu" or type(filter) is not Tensor or torch.compiler.is_compiling():
        return None
    return _factorise(filter.numpy().tobytes(), *filter.shape)


@lru_cache(maxsize=256)
def _factorise(values: bytes, height: int, width: int) -> tuple[Tensor, Tensor] | None:
    filter = np.frombuffer(values, np.float32).reshape(height, width).astype(np.float64)
    row, column = np.unravel_index(np.abs(filter).argmax(), filter.shape)
    largest = filter[row, column] or 1.0
    along_x, along_y = filter[row], filter[:, column] / largest
    if np.abs(filter - np.outer(along_y, along_x)).max() > 1e-6 * abs(largest):
        return None
    # The tensors outlive this call: they must not be tied to inference mode.
    with torch.inference_mode(False):
        return torch.tensor(along_x, dtype=torch.float32), torch.tensor(along_y, dtype=torch.float32)
