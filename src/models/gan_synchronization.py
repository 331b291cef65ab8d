"""Tensors that are to be the same in all processes of a training.

Each phase of a training of a generator has several backward passes, some of them through gradients; so gradients are
averaged here, once for each phase, and not by hooks in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

from src.ops.collectives import process_count

__all__ = ["average_gradients", "average_over_processes"]


@torch.no_grad()
def average_over_processes(tensors: Sequence[Tensor], parts: int = 1) -> None:
    """Replace tensors by their mean over all processes, in place.

    Args:
        tensors: On one device, of the same shapes in all processes.
        parts: Each is the sum over so many parts, whose mean is wanted too.
    """
    count = process_count()
    if not tensors or count * parts == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    if count > 1:
        distributed.all_reduce(flat)
    flat /= count * parts
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def average_gradients(parameters: Iterable[nn.Parameter], parts: int = 1) -> None:
    """Average the gradients of all processes and of the ``parts`` of a batch that were added up, in place.

    Args:
        parameters: The same ones have a gradient in all processes.
        parts: How many parts each process added up.
    """
    average_over_processes([parameter.grad for parameter in parameters if parameter.grad is not None], parts)
