"""Index-of-maximum hashing (Jin et al. 2018, IEEE TIFS 13(2)): which of q projections of a group is the largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError
from src.ops.library import LIBRARY, define

__all__ = ["RankHash", "group_argmax", "iom_hash"]

_MAX_GROUP = 256
"""Indices are one byte."""
_COLUMNS = 2048
"""Projections made at a time on the CPU: they stay in the cache until their largest are found."""


def group_argmax(logits: Tensor, q: int) -> Tensor:
    """Index of the largest value of every group of ``q`` neighbours; of equal ones the first.

    Args:
        logits: Floating [..., m * q], finite.
        q: Size of a group, at most 256.

    Returns:
        uint8 [..., m].

    Raises:
        UserError: ``logits`` are no such tensor, or do not consist of such groups.
    """
    if not logits.is_floating_point() or logits.ndim == 0 or not 1 <= q <= _MAX_GROUP or logits.shape[-1] % q:
        raise UserError(
            f"group_argmax: expected floating [..., m * q] and q from 1 to {_MAX_GROUP}, found {logits.dtype} "
            f"{list(logits.shape)} and q={q}"
        )
    if torch.compiler.is_exporting():  # such a graph is run where there is no such operator
        return _group_argmax(logits, q)
    values = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
    return torch.ops.privface.group_argmax(values, q)


def _group_argmax(logits: Tensor, q: int) -> Tensor:
    # Faster than argmax on the CPU, and unlike it promised to give the first of equal values.
    return logits.unflatten(-1, (logits.shape[-1] // q, q)).max(-1).indices.to(torch.uint8)


def _fake(logits: Tensor, q: int) -> Tensor:
    return logits.new_empty((*logits.shape[:-1], logits.shape[-1] // q), dtype=torch.uint8)


define("group_argmax(Tensor logits, int q) -> Tensor", _group_argmax)
torch.library.register_fake("privface::group_argmax", _fake, lib=LIBRARY)


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
    # A sum that is finite, which takes a tenth of the time, tells as much.
    if not torch.isfinite(x.sum()) and not torch.isfinite(x).all():
        raise UserError("iom_hash: an embedding holds NaN or infinity, so that it has no largest projection")
    step = max(1, _COLUMNS // q) * q if x.device.type == "cpu" else max(1, len(weight))
    biases = [None] * -(-len(weight) // step) if bias is None else bias.split(step)
    with torch.autocast(x.device.type, enabled=False):
        values = x.float()
        parts = zip(weight.split(step), biases, strict=True)
        return torch.cat([group_argmax(torch.nn.functional.linear(values, *part), q) for part in parts], dim=-1)


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
