"""Colour augmentations: one affine transform of the colour space for each image (Karras et al. 2020, appendix B).

Transforms are float32 [N, 3, 4]: a matrix, and what is added.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from src.models.networks.adaptive_augmentation.draws import Draws

__all__ = ["OPERATIONS", "color_transforms", "transform_colors"]

OPERATIONS = frozenset(["brightness", "contrast", "lumaflip", "hue", "saturation"])
"""Names of the colour operations."""

_BRIGHTNESS, _CONTRAST, _SATURATION = 0.2, 0.5, 1.0
"""Standard deviations: what is added, and logarithms of factors to base 2."""


def color_transforms(draws: Draws, operations: Collection[str], channels: int) -> Tensor:
    """Draw the transform of every sample.

    Args:
        draws: Where the strengths come from.
        operations: Names; those not in `OPERATIONS` are ignored.
        channels: Of the images, 3 or 1; an image of one channel has neither hue nor saturation.
    """
    identity = torch.eye(3, device=draws.p.device)
    luma = torch.full_like(identity, 1 / 3)
    total = torch.eye(3, 4, device=draws.p.device).expand(draws.samples, 3, 4)
    if "brightness" in operations:
        added = (draws.normal("brightness") * _BRIGHTNESS)[:, None, None].expand(-1, 3, 1)
        total = torch.cat([total[:, :, :3], total[:, :, 3:] + added], dim=2)
    if "contrast" in operations:
        total = torch.exp2(draws.normal("contrast") * _CONTRAST)[:, None, None] * total
    if "lumaflip" in operations:
        total = (identity - 2 * luma * draws.choice("lumaflip", 2)[:, None, None]) @ total
    if "hue" in operations and channels == 3:
        total = _rotations_about_luma(draws.signed("hue") * math.pi) @ total
    if "saturation" in operations and channels == 3:
        factor = torch.exp2(draws.normal("saturation") * _SATURATION)[:, None, None]
        total = (luma + (identity - luma) * factor) @ total
    return total


def transform_colors(images: Tensor, transforms: Tensor) -> Tensor:
    """Apply the transforms.

    Args:
        images: Floating [N, 3, H, W] or, as grey images, [N, 1, H, W].
        transforms: float32 [N, 3, 4].
    """
    matrix = transforms.to(images.dtype)
    if images.shape[1] == 1:
        factor, added = matrix[:, :, :3].sum(dim=(1, 2)) / 3, matrix[:, :, 3].mean(dim=1)
        return images * factor[:, None, None, None] + added[:, None, None, None]
    return torch.baddbmm(matrix[:, :, 3:], matrix[:, :, :3], images.flatten(2)).reshape(images.shape)


def _rotations_about_luma(angle: Tensor) -> Tensor:
    """Right-handed, about (1, 1, 1), by Rodrigues' formula: [N, 3, 3]."""
    cos, sin = angle.cos(), angle.sin() / math.sqrt(3)
    same = (1 + 2 * cos) / 3
    next_, last = (1 - cos) / 3 + sin, (1 - cos) / 3 - sin
    return torch.stack([same, last, next_, next_, same, last, last, next_, same], dim=1).reshape(-1, 3, 3)
