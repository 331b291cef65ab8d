"""Geometric augmentations: one affine transform of each image, in one resampling (Karras et al. 2020, appendix B).

Transforms are float32 [N, 3, 3] and take centred pixel coordinates (x, y, 1) of the result to those of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.networks.adaptive_augmentation.draws import Draws
from src.ops.fir import downsample2d, upsample2d

__all__ = ["LOW_PASS_TAPS", "OPERATIONS", "geometric_transforms", "warp"]

LOW_PASS_TAPS = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
"""Low-pass filter of the wavelet sym6."""

_MARGIN = len(LOW_PASS_TAPS) // 4
"""So many pixels around an image does the filter, at twice the resolution, reach."""
_WHOLE_TRANSLATION, _TRANSLATION, _SCALING = 0.125, 0.125, 0.2
"""Largest, and two standard deviations: as shares of the image, and as the logarithm of a factor to base 2."""


def geometric_transforms(draws: Draws, operations: Collection[str], height: int, width: int) -> Tensor:
    """Draw the transform of every sample.

    Args:
        draws: Where the strengths come from.
        operations: Names; those not in `OPERATIONS` are ignored.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
    """
    size = torch.tensor([width, height], device=draws.p.device)
    total = torch.eye(3, device=draws.p.device).expand(draws.samples, 3, 3)
    for operation, inverse in _INVERSES:
        if operation in operations:
            total = total @ inverse(draws, size)
    return total


def warp(images: Tensor, transforms: Tensor, low_pass: Tensor) -> Tensor:
    """Resample images at twice their resolution, with their mirror images around them.

    Args:
        images: Floating [N, C, H, W].
        transforms: float32 [N, 3, 3].
        low_pass: float32 [12], the filter made of `LOW_PASS_TAPS`.

    Returns:
        [N, C, H, W].
    """
    height, width = images.shape[2:]
    left, top, right, bottom = _margins(transforms, height, width)
    enlarged = upsample2d(F.pad(images, [left, right, top, bottom], mode="reflect"), low_pass)
    shift = transforms.new_tensor([left - right, top - bottom])
    source = transforms.new_tensor([width + left + right, height + top + bottom]) * 2
    target = transforms.new_tensor([width + 2 * _MARGIN, height + 2 * _MARGIN]) * 2
    linear, offset = transforms[:, :2, :2], transforms[:, :2, 2]
    # Centres of pixels stay where they are when the resolution doubles, not centres of the images.
    offset = 2 * offset + shift + linear.sum(dim=2) / 2 - 0.5
    theta = torch.cat([linear * target, 2 * offset[:, :, None]], dim=2) / source[:, None]
    shape = [*images.shape[:2], *(2 * (side + 2 * _MARGIN) for side in (height, width))]
    grid = F.affine_grid(theta.to(images.dtype), shape, align_corners=False)
    sampled = F.grid_sample(enlarged, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return downsample2d(sampled, low_pass, padding=-2 * _MARGIN, flip_filter=True)


def _margins(transforms: Tensor, height: int, width: int) -> list[int]:
    """Pixels to be added left, above, right and below for all the batch looks at, as far as a mirror image goes."""
    x, y = (width - 1) / 2, (height - 1) / 2
    corners = transforms.new_tensor([[-x, x, x, -x], [-y, -y, y, y], [1, 1, 1, 1]])
    reached = transforms[:, :2] @ corners
    reach = torch.cat([-reached.amin(dim=(0, 2)), reached.amax(dim=(0, 2))])
    margins = reach + 2 * _MARGIN - transforms.new_tensor([x, y, x, y])
    largest = transforms.new_tensor([width - 1, height - 1, width - 1, height - 1])
    return margins.clamp(min=0).minimum(largest).ceil().int().tolist()


def _flip(draws: Draws, size: Tensor) -> Tensor:
    flipped = draws.choice("xflip", 2)
    return _scaled(1 - 2 * flipped, torch.ones_like(flipped))


def _quarter_turns(draws: Draws, size: Tensor) -> Tensor:
    return _rotated(draws.choice("rotate90", 4) * (math.pi / 2))


def _whole_translation(draws: Draws, size: Tensor) -> Tensor:
    return _translated(-(draws.signed("xint", 2) * _WHOLE_TRANSLATION * size).round())


def _scaling(draws: Draws, size: Tensor) -> Tensor:
    factor = torch.exp2(-draws.normal("scale") * _SCALING)
    return _scaled(factor, factor)


def _rotation_before(draws: Draws, size: Tensor) -> Tensor:
    return _rotated(draws.signed("rotate_before") * math.pi)


def _stretching(draws: Draws, size: Tensor) -> Tensor:
    factor = torch.exp2(draws.normal("aniso") * _SCALING)
    return _scaled(1 / factor, factor)


def _rotation_after(draws: Draws, size: Tensor) -> Tensor:
    return _rotated(draws.signed("rotate_after") * math.pi)


def _translation(draws: Draws, size: Tensor) -> Tensor:
    return _translated(-draws.normal("xfrac", 2) * _TRANSLATION * size)


_INVERSES: tuple[tuple[str, Callable[[Draws, Tensor], Tensor]], ...] = (
    ("xflip", _flip),
    ("rotate90", _quarter_turns),
    ("xint", _whole_translation),
    ("scale", _scaling),
    ("rotate", _rotation_before),
    ("aniso", _stretching),
    ("rotate", _rotation_after),
    ("xfrac", _translation),
)

OPERATIONS = frozenset(operation for operation, _ in _INVERSES)
"""Names of the geometric operations."""


def _scaled(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def _rotated(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)


def _translated(offset: Tensor) -> Tensor:
    axes = torch.eye(3, 2, device=offset.device).expand(len(offset), 3, 2)
    third = torch.cat([offset, torch.ones_like(offset[:, :1])], dim=1)
    return torch.cat([axes, third[:, :, None]], dim=2)
