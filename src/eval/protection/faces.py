"""Faces as an attacker meets them, and the pairs of them that are compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.unlinkability import MINIMUM
from src.ops.hashing import RankHash

__all__ = [
    "CodedFaces",
    "Comparison",
    "ImagePairs",
    "comparisons",
    "draw_mated",
    "draw_non_mated",
    "joined",
    "mated_pairs",
]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CodedFaces:
    """Images with what the network makes of them.

    Attributes:
        embeddings: float32 [N, d], raw, as they enter the hash.
        codes: uint8 [N, m] of the embeddings, values 0..q-1.
        labels: int64 [N], number of the person on each.
        rank_hash: What made the codes.
    """

    embeddings: Tensor
    codes: NDArray[np.uint8]
    labels: Integers
    rank_hash: RankHash

    @property
    def q(self) -> int:
        """Alphabet size."""
        return self.rank_hash.q

    @cached_property
    def first_images(self) -> Integers:
        """The first image of every person who has several, int64 [P]."""
        _, first, counts = np.unique(self.labels, return_index=True, return_counts=True)
        return first[counts > 1]


@dataclass(frozen=True)
class ImagePairs:
    """Numbers of images that are compared, ``first`` int64 [P] with ``second`` int64 [P]."""

    first: Integers
    second: Integers

    def __len__(self) -> int:
        return len(self.first)

    @property
    def swapped(self) -> ImagePairs:
        """The same the other way round."""
        return ImagePairs(self.second, self.first)


def joined(*parts: ImagePairs) -> ImagePairs:
    """All pairs of several lists."""
    first, second = (np.concatenate([getattr(part, side) for part in parts]) for side in ("first", "second"))
    return ImagePairs(first, second)


@dataclass(frozen=True)
class Comparison:
    """What is compared under one pair of keys: first images under key ``a``, second images under key ``b``."""

    a: int
    b: int
    mated: ImagePairs
    non_mated: ImagePairs


def mated_pairs(labels: Integers) -> ImagePairs:
    """All pairs of two different images of one person, each once.

    Raises:
        UserError: There are too few to measure anything by, or there is but one person.
    """
    order = np.argsort(labels, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    pairs = [pair for images in people for pair in combinations(images.tolist(), 2)]
    if len(pairs) < MINIMUM or len(people) < 2:
        raise UserError(
            f"{len(people)} people with {len(pairs)} pairs of images of the same person are too few to measure the "
            f"protection of templates by; it takes two people and {MINIMUM} such pairs, e.g. 100 people with 2 images"
        )
    first, second = np.array(pairs, np.int64).T
    return ImagePairs(first, second)


def draw_mated(pairs: ImagePairs, count: int, generator: np.random.Generator) -> ImagePairs:
    """At most ``count`` of the pairs, each at most once."""
    chosen = generator.choice(len(pairs), min(count, len(pairs)), replace=False)
    return ImagePairs(pairs.first[chosen], pairs.second[chosen])


def draw_non_mated(labels: Integers, count: int, generator: np.random.Generator) -> ImagePairs:
    """``count`` pairs of images of different people; one may come twice."""
    first = generator.integers(len(labels), size=count)
    second = generator.integers(len(labels), size=count)
    while len(same := np.flatnonzero(labels[first] == labels[second])):
        first[same], second[same] = generator.integers(len(labels), size=(2, len(same)))
    return ImagePairs(first, second)


def comparisons(
    labels: Integers, mated: ImagePairs, keys: int, key_pairs: int, count: int, seed: int
) -> Iterator[Comparison]:
    """Comparisons under different keys, as many of one person's templates as of different people's.

    Args:
        labels: int64 [N].
        mated: By `mated_pairs`; they are compared either way round.
        keys: Number of keys.
        key_pairs: So many of all pairs of them are drawn.
        count: Number of comparisons of a kind in all; there are fewer if there are too few images for it.
        seed: Of the draw.
    """
    generator = np.random.default_rng(seed)
    either_way = joined(mated, mated.swapped)
    possible = list(combinations(range(keys), 2))
    for number in generator.choice(len(possible), key_pairs, replace=False).tolist():
        a, b = possible[number]
        chosen = draw_mated(either_way, -(-count // key_pairs), generator)
        yield Comparison(a, b, chosen, draw_non_mated(labels, len(chosen), generator))
