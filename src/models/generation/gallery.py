"""Everybody whom a synthetic person must not resemble."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from src.errors import UserError

__all__ = ["Gallery", "to_unit"]

_ROWS = 1 << 16  # compared at once


def to_unit(embeddings: Tensor) -> Tensor:
    """Embeddings [N, D] as float64 of length 1, on the CPU; raises UserError if one is not finite."""
    rows = embeddings.detach().cpu().double()
    if not rows.isfinite().all():
        raise UserError("the recogniser makes numbers that are not finite of a generated image; take another network")
    return F.normalize(rows, dim=1)


class Gallery:
    """Embeddings of real people, and of the first image of every synthetic person that was accepted.

    Args:
        known: Floating [K, D] embeddings of the real people, of any scale.
    """

    def __init__(self, known: Tensor) -> None:
        self._known = to_unit(known)
        self._accepted = self._known.new_empty(0, known.shape[1])

    def __len__(self) -> int:
        """Number of synthetic people."""
        return len(self._accepted)

    @property
    def known(self) -> int:
        """Number of embeddings of real people."""
        return len(self._known)

    def add(self, embedding: Tensor) -> None:
        """Add a synthetic person by the embedding, float64 [D] of length 1, of its first image."""
        self._accepted = torch.cat([self._accepted, embedding[None]])

    def similarity_to_known(self, unit: Tensor) -> Tensor:
        """Largest absolute cosine of each of ``unit`` [N, D] to the real people, float64 [N]."""
        return _largest(unit, self._known)

    def similarity_to_accepted(self, unit: Tensor, since: int = 0) -> Tensor:
        """Largest absolute cosine of each of ``unit`` [N, D] to the synthetic people from number ``since`` on."""
        return _largest(unit, self._accepted[since:])


def _largest(unit: Tensor, others: Tensor) -> Tensor:
    result = unit.new_zeros(len(unit))
    for block in others.split(_ROWS):
        if len(block):
            result = torch.maximum(result, (unit @ block.mT).abs().amax(dim=1))
    return result
