"""Augmentations that destroy something of an image (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

from src.models.networks.adaptive_augmentation.draws import Draws

__all__ = ["add_noise", "cut_out"]

_NOISE, _CUTOUT = 0.1, 0.5
"""Standard deviation of the noise's own standard deviation; side of a hole as a share of the image's."""


def add_noise(images: Tensor, draws: Draws) -> Tensor:
    """Add white noise, to each image of a strength of its own.

    Args:
        images: Floating [N, C, H, W].
        draws: Where the strengths come from.
    """
    deviation = draws.normal("noise").abs() * _NOISE
    return images + torch.randn_like(images) * deviation.to(images.dtype)[:, None, None, None]


def cut_out(images: Tensor, draws: Draws) -> Tensor:
    """Set a rectangle, half as wide and high as the image and perhaps partly outside it, to 0.

    Args:
        images: Floating [N, C, H, W].
        draws: Where the centres come from.
    """
    half = draws.applied("cutout")[:, None] * (_CUTOUT / 2)
    centre = draws.position(2)
    outside_x = _outside(images.shape[3], centre[:, :1], half)[:, None, None, :]
    outside_y = _outside(images.shape[2], centre[:, 1:], half)[:, None, :, None]
    return images * (outside_x | outside_y)


def _outside(length: int, centre: Tensor, half: Tensor) -> Tensor:
    """Which pixels of a side lie outside of ``centre`` plus and minus ``half``, as shares of it: bool [N, length]."""
    position = (torch.arange(length, device=centre.device) + 0.5) / length
    return (position - centre).abs() >= half
