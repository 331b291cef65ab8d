"""Communication between processes that gradients pass through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = ["gather_over_processes", "process_count", "sum_over_processes"]


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
    return share if process_count() == 1 else _Sum.apply(share)


def gather_over_processes(share: Tensor) -> Tensor:
    """Put the rows of all processes one after the other, and pass gradients back as `sum_over_processes` does.

    Args:
        share: [n, ...]; n may differ between the processes, the rest may not.

    Returns:
        [sum of all n, ...], the same in every process; ``share`` itself where there is only one.
    """
    if process_count() == 1:
        return share
    counts = torch.zeros(process_count(), dtype=torch.int64, device=share.device)
    counts[distributed.get_rank()] = len(share)
    distributed.all_reduce(counts)
    rows = counts.tolist()
    before, after = sum(rows[: distributed.get_rank()]), sum(rows[distributed.get_rank() + 1 :])
    empty = share.new_zeros
    return _Sum.apply(torch.cat([empty(before, *share.shape[1:]), share, empty(after, *share.shape[1:])]))


def process_count() -> int:
    """Processes that train together; 1 where nothing is distributed."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


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
