"""What may differ between two templates of one face: the keys that are meant to make them unlinkable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from src.eval.protection.faces import CodedFaces
from src.eval.protection.scores import LinkScore
from src.ops.hashing import RankHash
from src.ops.lookup_table import LookupTable

__all__ = ["KEY_TYPES", "KeyType", "fresh_projection", "identifiers"]

Codes = NDArray[np.uint8]

_BOTH: tuple[LinkScore, ...] = get_args(LinkScore)
_MATCH: tuple[LinkScore, ...] = ("match",)


@dataclass(frozen=True)
class KeyType:
    """A kind of key.

    Attributes:
        name: As metrics are named after it.
        title: What was stolen or differs, in a few words.
        templates: From faces, the number of keys and a seed, the templates uint8 [N, m] of all faces under each key.
        scores: By what they are compared.
    """

    name: str
    title: str
    templates: Callable[[CodedFaces, int, int], Sequence[Codes]]
    scores: tuple[LinkScore, ...] = _BOTH


def fresh_projection(rank_hash: RankHash, seed: int) -> RankHash:
    """A random hash as long as ``rank_hash``: normally distributed weights, no bias.

    Args:
        rank_hash: Gives the shape.
        seed: The same gives the same projection.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rank_hash.weight.shape, generator=generator)
    return RankHash(weight, torch.zeros(len(weight)), rank_hash.q)


def identifiers(faces: CodedFaces, seed: int) -> Codes:
    """A random identifier for each face, uint8 [N, m] of uniform symbols; XOR with a code gives a template."""
    return np.random.default_rng(seed).integers(faces.q, size=faces.codes.shape, dtype=np.uint8)


def _projections(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    return [fresh_projection(faces.rank_hash, seed + k).codes(faces.embeddings).numpy() for k in range(keys)]


def _permutations(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    size = faces.embeddings.shape[1]
    orders = [torch.randperm(size, generator=torch.Generator().manual_seed(seed + k)) for k in range(keys)]
    # The weights are permuted rather than the embeddings, which are more: it comes to the same.
    hashes = (RankHash(faces.rank_hash.weight[:, order], faces.rank_hash.bias, faces.q) for order in orders)
    return [hash_.codes(faces.embeddings).numpy() for hash_ in hashes]


def _shared_tables(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    return [_renamed(faces, None, seed + k) for k in range(keys)]


def _tables_per_position(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    return [_renamed(faces, faces.codes.shape[1], seed + k) for k in range(keys)]


def _renamed(faces: CodedFaces, positions: int | None, seed: int) -> Codes:
    bits = LookupTable.random(faces.q, m=positions, seed=seed.to_bytes(32, "little")).encode(faces.codes).numpy()
    return np.packbits(bits, axis=-1)[..., 0] >> (8 - bits.shape[-1])


def _identified(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    return [faces.codes ^ identifiers(faces, seed + k) for k in range(keys)]


def _identified_alike(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    """All templates of a person under one identifier."""
    _, first, person = np.unique(faces.labels, return_index=True, return_inverse=True)
    return [faces.codes ^ identifiers(faces, seed)[first[person]]] * keys


def _bare(faces: CodedFaces, keys: int, seed: int) -> list[Codes]:
    return [faces.codes] * keys


KEY_TYPES = (
    KeyType("identifier", "templates alone", _identified),
    KeyType("stores", "templates and identifiers", _bare, _MATCH),
    KeyType("identifier_reused", "templates, an identifier used twice", _identified_alike, _MATCH),
    KeyType("projection", "codes of two random projections", _projections),
    KeyType("permutation", "codes of permuted embeddings", _permutations),
    KeyType("lut_shared", "codes under one table", _shared_tables),
    KeyType("lut_position", "codes under a table per position", _tables_per_position),
)
"""All kinds; the first are the scheme's own identifiers as thieves of different things see them, the others are codes
without identifiers under other kinds of keys."""
