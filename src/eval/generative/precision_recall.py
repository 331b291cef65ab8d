"""Whether generated images look real, and whether they cover what is real (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from src.eval.generative.features import check_features

__all__ = ["PrecisionRecall", "precision_and_recall"]

_DISTANCES = 1 << 25  # computed at once


class PrecisionRecall(NamedTuple):
    """Fidelity and diversity.

    Attributes:
        precision: Share of the generated images that lie among the real ones.
        recall: Share of the real images that lie among the generated ones.
    """

    precision: float
    recall: float


def precision_and_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall (equations 1 and 2 of the paper).

    An image lies among others if it is in the ball around any of them that reaches to its ``neighbours``-th nearest
    neighbour of the same kind.

    Args:
        real: Floating [N, D] features, more than ``neighbours``.
        generated: Floating [M, D], likewise.
        neighbours: Number of neighbours k.

    Raises:
        UserError: See `check_features`.
    """
    first, second = check_features("precision", neighbours + 1, real=real, generated=generated)
    radii = _radii(first, neighbours), _radii(second, neighbours)
    is_covered = torch.zeros(len(first), dtype=torch.bool, device=first.device)
    precise = 0
    for block, reach in zip(_blocks(second, len(first)), _blocks(radii[1], len(first)), strict=True):
        distances = torch.cdist(block, first)
        precise += int((distances <= radii[0]).any(dim=1).sum())
        is_covered |= (distances <= reach[:, None]).any(dim=0)
    return PrecisionRecall(precise / len(second), float(is_covered.double().mean()))


def _radii(features: Tensor, neighbours: int) -> Tensor:
    """Distance [N] of every one of ``features`` [N, D] to its k-th nearest other; the nearest of all is itself."""
    return torch.cat(
        [
            torch.cdist(block, features).kthvalue(neighbours + 1, dim=1).values
            for block in _blocks(features, len(features))
        ]
    )


def _blocks(rows: Tensor, columns: int) -> tuple[Tensor, ...]:
    return rows.split(max(1, _DISTANCES // columns))
