"""Minibatch standard deviation (Karras et al. 2018, "Progressive growing of GANs", section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from src.errors import UserError

__all__ = ["append_minibatch_deviation"]


def append_minibatch_deviation(x: Tensor, group_size: int, num_channels: int = 1) -> Tensor:
    """Append to each sample how much the samples of its group differ.

    Sample ``i`` belongs to group ``i % (N / group_size)``.

    Args:
        x: Floating [N, C, H, W].
        group_size: Samples in a group, all of them if there are no more; N is a multiple of it.
        num_channels: The channels are divided into so many parts, each with a mean deviation of its own.

    Returns:
        [N, C + num_channels, H, W].

    Raises:
        UserError: If the batch cannot be divided.
    """
    samples, channels, height, width = x.shape
    group_size = min(group_size, samples)
    if samples % group_size:
        raise UserError(f"batch: expected a multiple of the {group_size} samples of a group, found {samples}")
    groups = x.reshape(group_size, -1, num_channels, channels // num_channels, height, width)
    deviation = (groups - groups.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(2, 3, 4))
    return torch.cat([x, deviation.repeat(group_size, 1)[:, :, None, None].expand(-1, -1, height, width)], dim=1)
