"""The matrix products of `margin_softmax` and the passes over their rows, by blocks of classes that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from src.ops import softmax_rows  # noqa: F401 - defines the passes

__all__ = ["Comparison", "Operands", "RowGradients", "compare", "differentiate", "sum_type"]

# Classes of a block. On the CPU their vectors stay in a core's cache, and no matrix product is so long that its sums
# would be split between threads, which would change their rounding. A GPU wants large products.
_CPU_BLOCK, _GPU_BLOCK = 768, 32768


def sum_type(embeddings: Tensor, weight: Tensor) -> torch.dtype:
    """What everything but matrix products is computed in."""
    return torch.float64 if torch.float64 in (embeddings.dtype, weight.dtype) else torch.float32


class Operands:
    """Embeddings and class vectors in the types to compute in.

    Args:
        embeddings: Float [B,D], not normalised.
        weight: Class vectors, float [C,D], not normalised.

    Attributes:
        vectors: The embeddings as `sum_type`.
        inverse_norms: 1 over their lengths, [B].
        unit: Their product, [B,D].
        factor: The same in the type of matrix products: bfloat16 for such embeddings where `sum_type` is float32.
        class_count: C.
    """

    def __init__(self, embeddings: Tensor, weight: Tensor) -> None:
        self._weight = weight
        self.class_count = len(weight)
        self.vectors = embeddings.to(sum_type(embeddings, weight)).contiguous()
        self.inverse_norms = invert_norms(self.vectors)
        self.unit = self.vectors * self.inverse_norms[:, None]
        rounded = embeddings.dtype == torch.bfloat16 and self.unit.dtype == torch.float32
        self.factor = self.unit.to(torch.bfloat16) if rounded else self.unit

    def classes(self, chosen: slice | Tensor) -> Tensor:
        """Class vectors as `sum_type`, [n,D]."""
        return self._weight[chosen].to(self.unit.dtype).contiguous()

    def blocks(self, cosines: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Ranges of classes, their vectors [n,D], and the part [B,n] of ``cosines`` [B*C] in which each is kept."""
        batch = len(self.unit)
        step = _CPU_BLOCK if cosines.device.type == "cpu" else _GPU_BLOCK
        for first in range(0, self.class_count, step):
            last = min(first + step, self.class_count)
            part = cosines[batch * first : batch * last].view(batch, last - first)
            yield slice(first, last), self.classes(slice(first, last)), part


class Comparison(NamedTuple):
    """Embeddings compared with all classes.

    Attributes:
        cosines: Within [-1, 1], minus infinity at the target; [B*C], a matrix [B,n] of each block after the other.
        inverse_norms: 1 over the lengths of the class vectors, [C].
        greatest: Greatest cosine of each row but for the target, -1 at least, [B].
        others: Sum of ``exp(scale * (cosine - greatest))`` over all classes but the target, [B].
    """

    cosines: Tensor
    inverse_norms: Tensor
    greatest: Tensor
    others: Tensor


def compare(operands: Operands, target: Tensor, scale: float, threshold: float) -> Comparison:
    """Compare embeddings with all classes; target, scale and threshold as of `softmax_rows.softmax_statistics`."""
    cosines = operands.unit.new_empty(len(operands.unit) * operands.class_count)
    inverse_norms = operands.unit.new_empty(operands.class_count)
    statistics = []
    for block, vectors, part in operands.blocks(cosines):
        inverse_norms[block] = invert_norms(vectors)
        products = operands.factor @ vectors.to(operands.factor.dtype).T
        found = torch.ops.privface.softmax_statistics(
            products, inverse_norms[block], target - block.start, scale, threshold, part
        )
        statistics.append(found)
    maxima, sums = map(torch.stack, zip(*statistics, strict=True))
    greatest = maxima.amax(0)
    return Comparison(cosines, inverse_norms, greatest, (sums * (scale * (maxima - greatest)).exp()).sum(0))


class RowGradients(NamedTuple):
    """What makes the gradient of a row's cosines, each [B].

    Attributes:
        greatest: As of `Comparison`.
        factor: Gradient of a cosine over ``exp(scale * (cosine - greatest))``.
        target: Gradient of the target's cosine.
    """

    greatest: Tensor
    factor: Tensor
    target: Tensor


def differentiate(
    operands: Operands,
    cosines: Tensor,
    inverse_norms: Tensor,
    target: Tensor,
    rows: RowGradients,
    scale: float,
    threshold: float,
    embedding_gradient: Tensor | None,
    weight_gradient: Tensor | None,
) -> None:
    """Write the gradients of embeddings [B,D] and class vectors [C,D]; other arguments as of `compare`'s result."""
    unit_gradient = torch.zeros_like(operands.unit)
    for block, vectors, part in operands.blocks(cosines):
        gradient = operands.factor.new_empty(part.shape)
        torch.ops.privface.softmax_gradient(
            part, inverse_norms[block], target - block.start, *rows, scale, threshold, gradient
        )
        if embedding_gradient is not None:
            unit_gradient += gradient @ vectors.to(gradient.dtype)
        if weight_gradient is not None:
            _write_tangential(gradient.T @ operands.factor, vectors, inverse_norms[block], weight_gradient[block])
    if embedding_gradient is not None:
        unit_gradient *= operands.inverse_norms[:, None]
        _write_tangential(unit_gradient, operands.vectors, operands.inverse_norms, embedding_gradient)


def _write_tangential(gradient: Tensor, vectors: Tensor, inverse_norms: Tensor, result: Tensor) -> None:
    fits = result.dtype == vectors.dtype
    tangential = result if fits else torch.empty_like(vectors)
    torch.ops.privface.tangential_part(gradient, vectors, inverse_norms, tangential)
    if not fits:
        result.copy_(tangential)


def invert_norms(vectors: Tensor) -> Tensor:
    """1 over the lengths of vectors [n,D], bounded as in `torch.nn.functional.normalize`."""
    return torch.linalg.vector_norm(vectors, dim=1).clamp_(min=1e-12).reciprocal_()
