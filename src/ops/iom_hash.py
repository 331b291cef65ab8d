"""Index-of-maximum hashing (Jin et al. 2018, IEEE TIFS 13(2)): which of q projections of a group is the largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError

__all__ = ["RankHash", "group_argmax", "iom_hash"]


def group_argmax(logits: Tensor, q: int) -> Tensor:
    """Index of the largest value of every group of ``q`` neighbours; of equal ones the first.

    Args:
        logits: Floating [..., m * q], finite.
        q: Size of a group, at most 256.

    Returns:
        uint8 [..., m].
    """
    # Faster than argmax on the CPU, and unlike it promised to give the first of equal values.
    return logits.unflatten(-1, (-1, q)).max(-1).indices.to(torch.uint8)


def iom_hash(x: Tensor, weight: Tensor, bias: Tensor | None, q: int) -> Tensor:
    """Codes of embeddings under a projection, in float32 whatever autocast is set to.

    Args:
        x: Floating [B, d].
        weight: [m * q, d].
        bias: [m * q], or None.
        q: Alphabet size.

    Returns:
        uint8 [B, m], values 0..q-1.

    Raises:
        UserError: An embedding is not finite: its codes would be arbitrary.
    """
    if not torch.isfinite(x).all():
        raise UserError("iom_hash: an embedding holds NaN or infinity, so that it has no largest projection")
    with torch.autocast(x.device.type, enabled=False):
        return group_argmax(torch.nn.functional.linear(x.float(), weight, bias), q)


@dataclass(frozen=True)
class RankHash:
    """A rank hash as a function of embeddings: everything after the feature extractor, folded into one affine map.

    Attributes:
        weight: float32 [m * q, d] on the CPU; group i is the rows i * q to (i + 1) * q.
        bias: float32 [m * q].
        q: Alphabet size.
    """

    weight: Tensor
    bias: Tensor
    q: int

    @property
    def m(self) -> int:
        """Symbols of a code."""
        return len(self.weight) // self.q

    def codes(self, embeddings: Tensor) -> Tensor:
        """Codes uint8 [B, m] of raw embeddings [B, d], not normalised."""
        return iom_hash(embeddings, self.weight, self.bias, self.q)
