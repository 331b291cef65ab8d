"""Codes of made-up people: random index-of-maximum hashes of vectors at a known angle."""

from __future__ import annotations

import torch
from torch import Tensor

from src.ops.hashing import RankHash

DIMENSIONS = 512


def random_hash(m: int, q: int, seed: int = 0) -> RankHash:
    """An untrained hash."""
    generator = torch.Generator().manual_seed(seed)
    return RankHash(torch.randn(m * q, DIMENSIONS, generator=generator), torch.zeros(m * q), q)


def face_vectors(labels: Tensor, cosine: float, seed: int = 1) -> Tensor:
    """Vectors float32 [N, 512] of length 22.6; those of one person, by ``labels`` int64 [N], are at ``cosine``."""
    generator = torch.Generator().manual_seed(seed)
    people = torch.randn(int(labels.max()) + 1, DIMENSIONS, generator=generator)
    noise = torch.randn(len(labels), DIMENSIONS, generator=generator)
    return cosine**0.5 * people[labels] + (1 - cosine) ** 0.5 * noise


def codes_of(labels: Tensor, cosine: float, m: int = 64, q: int = 8, views: int = 2) -> dict[str, Tensor]:
    """What an `EmbeddingCollector` would hold: codes uint8 [N, m] of images and their mirror images."""
    rank_hash = random_hash(m, q)
    names = ("original", "flipped")[:views]
    return {name: rank_hash.codes(face_vectors(labels, cosine, seed)) for seed, name in enumerate(names, 1)}
