"""Search among packed codes by the number of bits or symbols that differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError, check_choice

__all__ = ["Metric", "TopK", "hamming_topk"]

Metric = Literal["bits", "symbols"]
Words = Tensor | NDArray[np.int64] | NDArray[np.uint64]

_ROWS = 8192
"""Codes compared with one query at a time: they stay in the cache while all queries pass by."""


@dataclass(frozen=True)
class TopK:
    """The nearest codes of each query, ordered by distance and, where that is equal, by id.

    Attributes:
        distances: int32 [Q, min(k, N)].
        ids: int64 [Q, min(k, N)], row numbers.
    """

    distances: Tensor
    ids: Tensor


def hamming_topk(
    codes: Words, queries: Words, k: int, *, key: Words | None = None, metric: Metric = "bits", planes: int = 1
) -> TopK:
    """The ``k`` nearest codes of each query; exact, whatever the number of threads.

    Args:
        codes: int64 or uint64 [N, W], tensor, array or memory map; never copied as a whole.
        queries: int64 or uint64 [Q, W].
        k: How many codes to find for each query, at least 1.
        key: [N, W], what each code is XORed with before it is compared; None compares it as it is.
        metric: ``"bits"`` counts the bits that differ. ``"symbols"`` counts the symbols: words are ``planes`` equal
            runs, bit t of every run belongs to symbol t, which differs if it does in any of the runs.
        planes: Runs of the words, of which W is a multiple.

    Returns:
        The nearest codes.

    Raises:
        UserError: Shapes or types disagree, or ``k`` is less than 1.
    """
    check_choice("metric", metric, get_args(Metric))
    gallery, probes = _to_words(codes, "codes"), _to_words(queries, "queries")
    width = gallery.shape[1]
    pads = None if key is None else _to_words(key, "key")
    if probes.shape[1] != width or (pads is not None and pads.shape != gallery.shape):
        found = [list(words.shape) for words in (gallery, probes, pads) if words is not None]
        raise UserError(f"expected codes [N, W], queries [Q, W] and a key [N, W] of the same widths, found {found}")
    if k < 1 or planes < 1 or width % planes:
        raise UserError(f"k={k}, planes={planes}: expected at least 1 each, and words ({width}) a multiple of planes")
    nearest = _Nearest(len(probes), min(k, len(gallery)))
    runs = planes if metric == "symbols" else 1
    for start, block in _blocks(gallery, pads, runs):
        scratch = _Scratch(block.shape[1:])
        for row, query in enumerate(probes.reshape(len(probes), runs, width // runs, 1)):
            nearest.offer(row, start, scratch.distances(block, query))
    return nearest.result()


def _blocks(
    gallery: NDArray[np.uint64], pads: NDArray[np.uint64] | None, runs: int
) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """First row and uint64 [runs, W / runs, rows] of parts of the gallery: a word of all codes lies side by side."""
    for start in range(0, len(gallery), _ROWS):
        block = gallery[start : start + _ROWS].T.copy()
        if pads is not None:
            block ^= pads[start : start + _ROWS].T
        yield start, block.reshape(runs, -1, block.shape[1])


class _Scratch:
    """Memory for the comparison of a block with one query after another.

    Args:
        shape: Words of a run and rows of the block.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._differ = np.empty(shape, np.uint64)
        self._other = np.empty(shape, np.uint64)
        self._counts = np.empty(shape, np.uint8)

    def distances(self, block: NDArray[np.uint64], query: NDArray[np.uint64]) -> NDArray[np.int32]:
        """int32 [rows] from uint64 [runs, words, rows] and [runs, words, 1]."""
        np.bitwise_xor(block[0], query[0], out=self._differ)
        for codes, probe in zip(block[1:], query[1:], strict=True):
            np.bitwise_xor(codes, probe, out=self._other)
            np.bitwise_or(self._differ, self._other, out=self._differ)
        np.bitwise_count(self._differ, out=self._counts)
        return self._counts.sum(axis=0, dtype=np.int32)


class _Nearest:
    """The nearest codes so far of each query, as distance * 2^32 + row, so that one number orders both.

    Args:
        queries: Number of queries.
        k: How many to keep for each of them.
    """

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self._kept = [np.empty(0, np.int64) for _ in range(queries)]
        self._worst = np.full(queries, np.iinfo(np.int32).max)

    def offer(self, query: int, start: int, distances: NDArray[np.int32]) -> None:
        """Keep those rows, counted from ``start``, that are nearer than the worst kept one; rows only ever grow."""
        rows = np.flatnonzero(distances < self._worst[query])
        if not len(rows):
            return
        kept = np.concatenate([self._kept[query], (distances[rows].astype(np.int64) << 32) + (rows + start)])
        if len(kept) > self._k:
            kept = np.partition(kept, self._k - 1)[: self._k]
        self._kept[query] = kept
        if len(kept) == self._k:
            self._worst[query] = kept.max() >> 32

    def result(self) -> TopK:
        """All that was kept, in order."""
        kept = np.sort(np.array(self._kept, np.int64).reshape(len(self._kept), self._k), axis=1)
        return TopK(torch.from_numpy((kept >> 32).astype(np.int32)), torch.from_numpy(kept & 0xFFFFFFFF))


def _to_words(words: Words, name: str) -> NDArray[np.uint64]:
    values = words.numpy(force=True) if isinstance(words, Tensor) else np.asarray(words)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.dtype.itemsize != 8:
        raise UserError(f"{name}: expected int64 [N, W], found {values.dtype} {list(values.shape)}")
    return values.view("<u8" if values.dtype.byteorder == "<" else "=u8")
