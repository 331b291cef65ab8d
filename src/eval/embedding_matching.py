"""Embeddings as templates: compared by their cosine, or by a rule of a method's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.collector import Collected
from src.eval.matching import Flip, Matcher, Search, collected_views
from src.eval.unit_vectors import l2_normalise, squared_distances

__all__ = ["Compare", "CosineMatcher", "PairMatcher", "combine_views"]

Array = NDArray[np.float64]

Compare = Callable[[Tensor, Tensor], Tensor]
"""Similarities [P] in [-1, 1] of templates [P, D] to templates [P, D], as they are, not scaled."""


class CosineMatcher(Matcher):
    """Embeddings, by the cosine."""

    def templates(self, collected: Collected, flip: Flip, count: int, name: str) -> Tensor:
        """See `Matcher.templates`; views are combined by `combine_views`."""
        return combine_views(collected, flip, count, name)

    def pairs(self, first: Tensor, second: Tensor) -> Array:
        """See `Matcher.pairs`."""
        return np.einsum("pd,pd->p", _unit(first), _unit(second))

    def distances(self, first: Tensor, second: Tensor, similarities: Array) -> Array:
        """Squared Euclidean distances of the unit vectors."""
        return squared_distances(_unit(first), _unit(second))

    def enrol(self, gallery: Tensor) -> Search:
        """See `Matcher.enrol`."""
        enrolled = _unit(gallery).astype(np.float32).T
        return lambda probes: _unit(probes).astype(np.float32) @ enrolled


class PairMatcher(Matcher):
    """Embeddings, by a rule that compares two of them and has no faster way to search.

    Args:
        compare: The rule.
    """

    pairs_only = True

    def __init__(self, compare: Compare) -> None:
        self.compare = compare

    def templates(self, collected: Collected, flip: Flip, count: int, name: str) -> Tensor:
        """See `Matcher.templates`; views are combined by `combine_views`."""
        return combine_views(collected, flip, count, name)

    def pairs(self, first: Tensor, second: Tensor) -> Array:
        """See `Matcher.pairs`.

        Raises:
            UserError: The rule gives something else than similarities.
        """
        scores = self.compare(first.double(), second.double()).detach().double().numpy()
        if scores.shape != first.shape[:1] or not (np.abs(scores) <= 1 + 1e-6).all():
            raise UserError(
                f"compare: expected {len(first)} similarities in [-1, 1], found an array of shape {list(scores.shape)}"
                + (f" from {scores.min():.3g} to {scores.max():.3g}" if scores.size else "")
            )
        return scores.clip(-1, 1)

    def enrol(self, gallery: Tensor) -> Search:
        """See `Matcher.enrol`."""
        raise UserError("these templates can only be compared one by one; evaluate them on sets of pairs")


def combine_views(collected: Collected, flip: Flip, count: int, name: str) -> Tensor:
    """What a benchmark compares of raw embeddings.

    Args:
        collected: By `src.eval.collector.EmbeddingCollector`.
        flip: See `src.eval.benchmark.VerificationBenchmark`.
        count: Number of images N.
        name: Of the benchmark, for messages.

    Returns:
        float64 [N, D], or [N, 2D] for ``"concat"``; not normalised.

    Raises:
        UserError: Their number is not that of the images, or mirror images are missing.
    """
    original, *mirrored = (view.double() for view in collected_views(collected, flip, count, name))
    if flip == "sum":
        return original + mirrored[0]
    return torch.cat([original, *mirrored], dim=1) if mirrored else original


def _unit(templates: Tensor) -> Array:
    return l2_normalise(templates.double().numpy())
