"""Communication between processes that gradients pass through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = ["sum_over_processes"]


def sum_over_processes(share: Tensor) -> Tensor:
    """Add a tensor over all processes, element by element, and pass gradients back.

    The gradient of a share is the sum of the gradients that all processes have with respect to the total. A loss that
    every process computes from the total therefore counts once for each of them, and the mean that data-parallel
    training takes over the processes gives the gradient of one process that has all data.

    Args:
        share: Of the same shape in every process.

    Returns:
        The total, of that shape; ``share`` itself where there is only one process.
    """
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
        return share
    return _Sum.apply(share)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        total = share.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total
