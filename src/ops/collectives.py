"""Communication between processes that gradients pass through.

Data-parallel training takes the mean of the gradients over the processes. A loss that every process computes from what
all have therefore has to count once for each of them: then that mean is the gradient of one process that has all data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = [
    "count_rows",
    "gather_over_processes",
    "join_rows",
    "own_rows",
    "process_count",
    "process_rank",
    "sum_over_processes",
]


def sum_over_processes(share: Tensor) -> Tensor:
    """Add a tensor over all processes, element by element, and pass gradients back.

    The gradient of a share is the sum of the gradients that all processes have with respect to the total.

    Args:
        share: Of the same shape in every process.

    Returns:
        The total, of that shape; ``share`` itself where there is only one process.
    """
    return share if process_count() == 1 else _Sum.apply(share)


def gather_over_processes(share: Tensor, rows: Sequence[int] | None = None) -> Tensor:
    """Put the rows of all processes one after the other, and pass gradients back as `sum_over_processes` does.

    Args:
        share: [n, ...]; n may differ between the processes and be 0, the rest may not differ.
        rows: What `count_rows` returns for it, where that is known already.

    Returns:
        [sum of all n, ...], the same in every process; ``share`` itself where there is only one.
    """
    if process_count() == 1:
        return share
    return _Gather.apply(share, count_rows(share) if rows is None else rows)


def count_rows(share: Tensor) -> list[int]:
    """Length n of each process's ``share`` [n, ...]; every process has to ask."""
    if process_count() == 1:
        return [len(share)]
    counts = torch.zeros(process_count(), dtype=torch.int64, device=share.device)
    counts[process_rank()] = len(share)
    distributed.all_reduce(counts)
    return counts.tolist()


def join_rows(share: Tensor, rows: Sequence[int]) -> Tensor:
    """What `gather_over_processes` returns, without gradient."""
    longest = max(rows)
    if len(rows) == 1 or longest == 0:
        return share
    joined = share.new_empty(len(rows) * longest, *share.shape[1:])
    distributed.all_gather_into_tensor(joined, _lengthen(share, longest))
    if min(rows) == longest:
        return joined
    return torch.cat([part[:count] for part, count in zip(joined.split(longest), rows, strict=True)])


def own_rows(total: Tensor, rows: Sequence[int]) -> Tensor:
    """This process's rows of a tensor that is the same in every process.

    Args:
        total: [sum of ``rows``, ...].
        rows: Of each process.

    Returns:
        [n, ...]. Its gradient is joined with those of the other processes: each gives that of its own rows.
    """
    return total if len(rows) == 1 else _Own.apply(total, rows)


def process_count() -> int:
    """Processes that train together; 1 where nothing is distributed."""
    return distributed.get_world_size() if _is_distributed() else 1


def process_rank() -> int:
    """Number of this process among them, from 0."""
    return distributed.get_rank() if _is_distributed() else 0


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _lengthen(share: Tensor, length: int) -> Tensor:
    """Append zeros up to ``length`` rows."""
    missing = length - len(share)
    return torch.cat([share, share.new_zeros(missing, *share.shape[1:])]) if missing else share.contiguous()


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


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor, rows: Sequence[int]) -> Tensor:
        ctx.rows = rows
        return join_rows(share.detach(), rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        longest = max(ctx.rows)
        if longest == 0:
            return gradient, None
        parts = torch.cat([_lengthen(part, longest) for part in gradient.split(ctx.rows)])
        share = gradient.new_empty(longest, *gradient.shape[1:])
        distributed.reduce_scatter_tensor(share, parts)
        return share[: ctx.rows[process_rank()]], None


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor, rows: Sequence[int]) -> Tensor:
        ctx.rows = rows
        return total.detach().split(rows)[process_rank()].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return join_rows(gradient, ctx.rows), None
