"""How many symbols two codes share, by how alike the embeddings are: what rank hashes keep, and so what they tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from src.eval.protection.faces import CodedFaces, ImagePairs
from src.eval.protection.scores import match
from src.eval.score import Collisions

__all__ = ["collision_error", "collision_law", "collisions"]

Array = NDArray[np.float64]

_DRAWS = 1 << 18  # of a symbol at each point of the law, fewer where there are so many symbols that they
_NUMBERS = 1 << 22  # would take more random numbers than these
_GRID = 81
_EDGES = np.linspace(-1, 1, 41)
_FEWEST = 20  # pairs in a bin that is kept: of a thousand pairs there is one


def collision_law(cosines: ArrayLike, q: int, seed: int = 0) -> Array:
    """Probability that a symbol of two codes is the same, by random projections of any number of dimensions.

    For two symbols it is 1 - angle / pi; for more it is simulated.

    Args:
        cosines: [...] of the embeddings, -1..1.
        q: Alphabet size.
        seed: Of the simulation.

    Returns:
        float64 [...].
    """
    values = np.asarray(cosines, np.float64).clip(-1, 1)
    if q == 2:
        return 1 - np.arccos(values) / math.pi
    generator = np.random.default_rng(seed)
    first, noise = generator.standard_normal((2, min(_DRAWS, _NUMBERS // q), q), np.float32)
    winner = first.argmax(1)
    found = [np.mean((c * first + math.sqrt(1 - c * c) * noise).argmax(1) == winner) for c in values.ravel().tolist()]
    return np.reshape(found, values.shape)


def collisions(faces: CodedFaces, projections: Sequence[NDArray[np.uint8]], pairs: ImagePairs) -> Collisions:
    """Shares of equal symbols of pairs by the cosine of their embeddings, in bins of 0.05 with 20 pairs or more.

    Args:
        faces: Theirs are the embeddings and codes.
        projections: uint8 [N, m] codes of all faces by each of several random projections.
        pairs: Of images.
    """
    grid, law = _law(faces.q)
    cosines = _cosines(faces, pairs)
    random = np.mean([match(codes[pairs.first], codes[pairs.second]) for codes in projections], axis=0)
    own = match(faces.codes[pairs.first], faces.codes[pairs.second])
    place = np.digitize(cosines, _EDGES)
    counts = np.bincount(place, minlength=len(_EDGES) + 1)
    kept = np.flatnonzero(counts >= _FEWEST)
    means = [np.bincount(place, values, len(counts))[kept] / counts[kept] for values in (cosines, random, own)]
    return Collisions((grid.tolist(), law.tolist()), *(values.tolist() for values in means))


def collision_error(found: Collisions) -> float:
    """Largest difference between what random projections give and the law."""
    return float(np.abs(np.subtract(found.projection, np.interp(found.cosine, *found.law))).max())


@cache
def _law(q: int) -> tuple[Array, Array]:
    grid = np.linspace(-1, 1, _GRID)
    return grid, collision_law(grid, q)


def _cosines(faces: CodedFaces, pairs: ImagePairs) -> Array:
    unit = F.normalize(faces.embeddings)
    first, second = (unit[torch.from_numpy(side)] for side in (pairs.first, pairs.second))
    return (first * second).sum(1).double().numpy().clip(-1, 1)
