"""What a gallery answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from src.models.cancellable.identifier_store import IdentifierKind
from src.models.cancellable.parameters import Parameters
from src.models.cancellable.snapshot import Nearest

__all__ = ["GalleryStats", "Matches"]


@dataclass(frozen=True)
class Matches:
    """The people of a gallery who are nearest to each probe, each by the nearest of his templates.

    They are ordered by distance and, where that is equal, by pid.

    Attributes:
        pids: int64 [Q, k]; -1 where there is nobody whose score reaches the threshold.
        scores: float32 [Q, k], share of equal symbols or bits; 0 where there is nobody.
        distances: int32 [Q, k], number of unequal symbols or bits; -1 where there is nobody.
        skipped: Templates that were not compared, because their identifier is missing.
    """

    pids: Tensor
    scores: Tensor
    distances: Tensor
    skipped: int

    @classmethod
    def of(cls, nearest: Nearest, total: int, threshold: float, skipped: int) -> Matches:
        """Scores of the nearest people, those below the threshold left out; ``total`` symbols or bits are compared."""
        scores = (total - nearest.distances) / total
        nobody = (nearest.pids < 0) | (scores < threshold)
        return cls(
            torch.from_numpy(np.where(nobody, -1, nearest.pids)),
            torch.from_numpy(np.where(nobody, 0, scores).astype(np.float32)),
            torch.from_numpy(np.where(nobody, -1, nearest.distances).astype(np.int32)),
            skipped,
        )


@dataclass(frozen=True)
class GalleryStats:
    """What a gallery holds.

    Attributes:
        people: Number of people.
        templates: Number of templates.
        renewals: How many templates took the place of others so far.
        template_bytes: Size of the folder of templates.
        identifier_bytes: Size of the folder of identifiers.
        identifier: Where identifiers come from.
        parameters: What codes are.
    """

    people: int
    templates: int
    renewals: int
    template_bytes: int
    identifier_bytes: int
    identifier: IdentifierKind
    parameters: Parameters
