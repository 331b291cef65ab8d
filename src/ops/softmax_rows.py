"""The passes over rows that `margin_softmax` is made of, on one block of classes at a time.

What follows is the reference; the compiled library does each in one go over memory that is still in the cache.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from src.ops.library import LIBRARY, define

__all__ = ["softmax_gradient", "softmax_statistics", "tangential_part"]


def softmax_statistics(
    products: Tensor, inverse_norms: Tensor, target: Tensor, scale: float, threshold: float, cosines: Tensor
) -> tuple[Tensor, Tensor]:
    """Turn products into cosines, and sum the exponentials of all classes but the target.

    Args:
        products: Of unit embeddings with the vectors of n classes, [B,n], of the type that was multiplied in.
        inverse_norms: 1 over the lengths of those vectors, [n].
        target: Column of each row's class, int64 [B]; outside 0 to n - 1 if it is not among these.
        scale: Factor s from cosines to logits.
        threshold: Cosines above it count as 0.
        cosines: Written, [B,n]: within [-1, 1], minus infinity at the target.

    Returns:
        The greatest cosine of each row, -1 at least, and the sum of ``exp(s * (cosine - greatest))``, both [B].
    """
    _set_target(torch.mul(products, inverse_norms, out=cosines).clamp_(-1, 1), target, -math.inf)
    considered = cosines if threshold == math.inf else cosines.masked_fill(cosines > threshold, 0.0)
    maxima = considered.amax(1).clamp_(min=-1)
    return maxima, (considered - maxima[:, None]).mul_(scale).exp_().sum(1)


def softmax_gradient(
    cosines: Tensor,
    inverse_norms: Tensor,
    target: Tensor,
    shift: Tensor,
    factor: Tensor,
    target_gradient: Tensor,
    scale: float,
    threshold: float,
    gradient: Tensor,
) -> None:
    """Gradient of the products that `softmax_statistics` was called with.

    Args:
        cosines: As written there.
        inverse_norms: As there.
        target: As there.
        shift: Greatest cosine of each row over all blocks, [B].
        factor: Gradient of a cosine over ``exp(s * (cosine - shift))``, [B].
        target_gradient: Gradient of the target's cosine, [B].
        scale: As there.
        threshold: As there; cosines above it have no gradient.
        gradient: Written, [B,n], of the type to multiply in.
    """
    considered = (cosines - shift[:, None]).mul_(scale).exp_().mul_(factor[:, None])
    if threshold != math.inf:
        considered.masked_fill_(cosines > threshold, 0.0)
    torch.mul(_set_target(considered, target, target_gradient[:, None]), inverse_norms, out=gradient)


def tangential_part(gradient: Tensor, vectors: Tensor, inverse_norms: Tensor, result: Tensor) -> None:
    """Take the part along its vector out of each gradient.

    Args:
        gradient: [n,D].
        vectors: [n,D].
        inverse_norms: 1 over the lengths of the vectors, [n].
        result: Written, [n,D].
    """
    along = (gradient * vectors).sum(1, dtype=vectors.dtype) * inverse_norms.square()
    torch.addcmul(gradient, vectors, along[:, None], value=-1, out=result)


def _set_target(rows: Tensor, target: Tensor, value: Tensor | float) -> Tensor:
    """Set the target's entry of each row in place, where there is one; no sync with the GPU."""
    index = target.clamp(0, rows.shape[1] - 1)[:, None]
    inside = target[:, None] == index
    return rows.scatter_(1, index, torch.where(inside, value, rows.gather(1, index)))


define(
    "softmax_statistics(Tensor products, Tensor inverse_norms, Tensor target, float scale, float threshold, "
    "Tensor(a!) cosines) -> (Tensor, Tensor)",
    softmax_statistics,
)
define(
    "softmax_gradient(Tensor cosines, Tensor inverse_norms, Tensor target, Tensor shift, Tensor factor, "
    "Tensor target_gradient, float scale, float threshold, Tensor(a!) gradient) -> ()",
    softmax_gradient,
)
define(
    "tangential_part(Tensor gradient, Tensor vectors, Tensor inverse_norms, Tensor(a!) result) -> ()", tangential_part
)


@torch.library.register_fake("privface::softmax_statistics", lib=LIBRARY)
def _softmax_statistics_fake(
    products: Tensor, inverse_norms: Tensor, target: Tensor, scale: float, threshold: float, cosines: Tensor
) -> tuple[Tensor, Tensor]:
    return cosines.new_empty(len(cosines)), cosines.new_empty(len(cosines))


@torch.library.register_fake("privface::softmax_gradient", lib=LIBRARY)
def _softmax_gradient_fake(*arguments: object) -> None:
    return None


@torch.library.register_fake("privface::tangential_part", lib=LIBRARY)
def _tangential_part_fake(*arguments: object) -> None:
    return None
