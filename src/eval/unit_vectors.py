"""Vectors of length 1 and the distances between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["l2_normalise", "squared_distances"]

Array = NDArray[np.float64]


def l2_normalise(embeddings: Array) -> Array:
    """Scale the rows of ``embeddings`` [N, D] to length 1; a row of zeros stays zero."""
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    return embeddings / np.where(norms == 0, 1, norms)[:, None]


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distance [P] of the rows of ``a`` and ``b`` [P, D]."""
    # Not 2 - 2ab: near-equal pairs would lose digits and change bins.
    difference = a - b
    np.square(difference, out=difference)
    return difference.sum(axis=1)
