"""How templates are formed of what a network yields, and how similar two of them are."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError, check_choice
from src.eval.code_mismatches import mismatches, mismatches_of_all
from src.eval.collector import Collected, check_count
from src.ops.code_bits import pack_bits, pack_planes
from src.ops.lookup_table import LookupTable

__all__ = ["BitMatcher", "Flip", "Matcher", "ProtectedMatcher", "Search", "SymbolMatcher", "collected_views"]

Array = NDArray[np.float64]
Similarities = NDArray[np.float32]
Words = NDArray[np.uint64]

Flip = Literal["sum", "concat", "none"]
Metric = Literal["symbols", "bits"]
Scope = Literal["shared", "per_position"]
Similarity = Literal["match", "jaccard"]

_ENCODED = 1 << 22  # symbols turned into bits at once
_STEPS = 1000  # thresholds over the share of what differs

Search = Callable[[Tensor], Similarities]
"""Similarities float32 [S, G] of probes [S, D] to the G templates of a gallery."""


class Matcher(ABC):
    """Forms templates and compares them. Tensors are on the CPU, similarities in [-1, 1].

    Attributes:
        thresholds: float64 [T] ascending distances at which the folds of a verification may accept, where a
            similarity s is the distance 2 - 2s.
        pairs_only: Whether templates can only be compared one by one, not with a whole gallery.
    """

    thresholds: Array = np.arange(0, 4, 0.01)
    pairs_only = False

    @abstractmethod
    def templates(self, collected: Collected, flip: Flip, count: int, name: str) -> Tensor:
        """Form the templates of a benchmark's images.

        Args:
            collected: By `src.eval.collector.EmbeddingCollector`.
            flip: How an image and its mirror image make one template.
            count: Number of images N.
            name: Of the benchmark, for messages.

        Returns:
            [N, D].

        Raises:
            UserError: Their number is not that of the images, mirror images are missing, or they are of another kind.
        """

    @abstractmethod
    def pairs(self, first: Tensor, second: Tensor) -> Array:
        """Similarities float64 [P] of templates [P, D] to templates [P, D], row by row."""

    @abstractmethod
    def enrol(self, gallery: Tensor) -> Search:
        """Prepare templates [G, D] for being searched.

        Raises:
            UserError: Templates can only be compared one by one.
        """

    def distances(self, first: Tensor, second: Tensor, similarities: Array) -> Array:
        """Distances float64 [P] in 0..4, on which thresholds are chosen, of what `pairs` found so similar."""
        return 2 - 2 * similarities

    def matrix(self, probes: Tensor, gallery: Tensor) -> Similarities:
        """Similarities float32 [S, G] of templates [S, D] and [G, D]."""
        return self.enrol(gallery)(probes)


def collected_views(collected: Collected, flip: Flip, count: int, name: str) -> list[Tensor]:
    """Embeddings or codes [N, D] of the images and, unless ``flip`` is ``"none"``, of their mirror images.

    Raises:
        UserError: See `Matcher.templates`.
    """
    check_count(collected, count, name)
    original = collected["original"]
    if flip == "none":
        return [original]
    if "flipped" not in collected:
        raise UserError(f"{name}: flip={flip} needs embeddings of the mirror images too")
    return [original, collected["flipped"]]


class CodeMatcher(Matcher):
    """Codes, uint8 [N, m] with values 0..q-1, by how many of their symbols or bits are equal.

    An image and its mirror image make one code of both, one after the other: symbols have no sum.

    Args:
        q: Alphabet size.
        metric: What is counted: symbols, or the bits that a lookup table makes of them.
        bits: Bits per symbol; None: as many as tell all symbols apart, log2 q.
        scope: Whether all positions of a code share one lookup table.
        permute: Whether tables that tell all symbols apart are permuted at random, or natural binary numbers.
        seed: Of the tables, at least 0.
        similarity: Of n symbols or bits of which e are equal: ``"match"`` e / n, or ``"jaccard"`` e / (2n - e), as IoM
            hashing has it (Jin et al. 2018); one grows with the other.

    Raises:
        UserError: An argument has none of the values it may have.
    """

    thresholds: Array = 2 * np.arange(0, 1 + 1.5 / _STEPS, 1 / _STEPS)

    def __init__(
        self,
        q: int,
        *,
        metric: Metric,
        bits: int | None,
        scope: Scope,
        permute: bool,
        seed: int,
        similarity: Similarity,
    ) -> None:
        check_choice("metric", metric, get_args(Metric))
        check_choice("scope", scope, get_args(Scope))
        check_choice("similarity", similarity, get_args(Similarity))
        if seed < 0:
            raise UserError(f"seed={seed}: expected at least 0")
        self.q = q
        self.metric = metric
        self.bits = LookupTable.random(q, bits, seed=b"").bits  # refuses what no table can have
        self.scope = scope
        self.permute = permute
        self.seed = seed
        self.similarity = similarity
        self._tables: dict[int, LookupTable] = {}

    def templates(self, collected: Collected, flip: Flip, count: int, name: str) -> Tensor:
        """See `Matcher.templates`; uint8 [N, m], or [N, 2m] with mirror images."""
        return torch.cat(collected_views(collected, flip, count, name), dim=1)

    def pairs(self, first: Tensor, second: Tensor) -> Array:
        """See `Matcher.pairs`."""
        return self._by_mismatches(first)[mismatches(self._words(first) ^ self._words(second), self._planes)]

    def enrol(self, gallery: Tensor) -> Search:
        """See `Matcher.enrol`."""
        enrolled, similarities = self._words(gallery), self._by_mismatches(gallery).astype(np.float32)
        return lambda probes: similarities[mismatches_of_all(self._words(probes), enrolled, self._planes)]

    @property
    def _planes(self) -> int:
        return self.bits if self.metric == "symbols" else 1

    def _table(self, m: int) -> LookupTable:
        if m not in self._tables:
            positions = m if self.scope == "per_position" else None
            seed = self.seed.to_bytes(32, "little")
            self._tables[m] = LookupTable.random(self.q, self.bits, m=positions, seed=seed, permute=self.permute)
        return self._tables[m]

    def _words(self, codes: Tensor) -> Words:
        """Packed bits of codes, uint64 [N, W]."""
        table = self._table(codes.shape[1])
        pack = pack_planes if self.metric == "symbols" else lambda bits: pack_bits(bits.flatten(1))
        step = max(1, _ENCODED // codes.shape[1])
        return torch.cat([pack(table.encode(block)) for block in codes.split(step)]).numpy().view(np.uint64)

    def _by_mismatches(self, codes: Tensor) -> Array:
        """Similarity float64 [n + 1] to one of ``codes`` [N, m] of what differs from it in 0, 1, ... n."""
        n = codes.shape[1] * (1 if self.metric == "symbols" else self.bits)
        equal = np.arange(n, -1, -1)
        return equal / (n if self.similarity == "match" else 2 * n - equal)


class SymbolMatcher(CodeMatcher):
    """Codes, by the share of symbols that are equal.

    Args:
        q: Alphabet size.
        similarity: See `CodeMatcher`.
    """

    def __init__(self, q: int, similarity: Similarity = "match") -> None:
        super().__init__(q, metric="symbols", bits=None, scope="shared", permute=False, seed=0, similarity=similarity)


class BitMatcher(CodeMatcher):
    """Codes, by the share of equal bits after a lookup table. Arguments: see `CodeMatcher`."""

    def __init__(
        self,
        q: int,
        bits: int | None = None,
        scope: Scope = "shared",
        permute: bool = True,
        seed: int = 0,
        similarity: Similarity = "match",
    ) -> None:
        super().__init__(q, metric="bits", bits=bits, scope=scope, permute=permute, seed=seed, similarity=similarity)


class ProtectedMatcher(CodeMatcher):
    """Codes as the cancellable protocol stores and matches them (DRH specification, section 6).

    Every template of a gallery, and the first one of every pair, is enrolled: stored XOR an identifier that is drawn
    for it alone and forgotten after use. A probe is matched without opening it: the stored template XOR the probe
    against the identifier. Similarities are exactly those without protection. Arguments: see `CodeMatcher`.
    """

    def __init__(
        self,
        q: int,
        bits: int | None = None,
        scope: Scope = "per_position",
        permute: bool = True,
        seed: int = 0,
        metric: Metric = "symbols",
        similarity: Similarity = "match",
    ) -> None:
        super().__init__(q, metric=metric, bits=bits, scope=scope, permute=permute, seed=seed, similarity=similarity)

    def pairs(self, first: Tensor, second: Tensor) -> Array:
        """See `Matcher.pairs`."""
        stored, identifiers = self._protect(first)
        released = stored ^ self._words(second)
        return self._by_mismatches(first)[mismatches(released ^ identifiers, self._planes)]

    def enrol(self, gallery: Tensor) -> Search:
        """See `Matcher.enrol`."""
        (stored, identifiers), similarities = self._protect(gallery), self._by_mismatches(gallery).astype(np.float32)
        return lambda probes: similarities[mismatches_of_all(self._words(probes), stored, self._planes, identifiers)]

    def _protect(self, codes: Tensor) -> tuple[Words, Words]:
        """Stored templates and their identifiers, uint64 [N, W] each."""
        words = self._words(codes)
        random = np.frombuffer(secrets.token_bytes(words.nbytes), words.dtype).reshape(words.shape)
        return words ^ random, random
