"""How the elements of images lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["layout"]


def layout(x: Tensor) -> torch.memory_format:
    """Channels last for a tensor [N, C, H, W] that lies so and is not contiguous as well; else contiguous.

    Operators give their output the layout of their input.
    """
    is_channels_last = x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format
