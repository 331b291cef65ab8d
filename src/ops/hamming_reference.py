"""Distances of packed codes and the nearest codes: NumPy on the CPU, plain PyTorch on any other device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["distances", "topk"]

_ROWS = 8192
"""Codes compared with one query at a time on the CPU: they stay in the cache while all queries pass by."""
_WORDS = 1 << 24
"""Words of all pairs that another device holds at a time."""


def distances(codes: Tensor, queries: Tensor, key: Tensor | None, runs: int) -> Tensor:
    """The operator ``hamming_distances``.

    Args:
        codes: int64 [N, W].
        queries: int64 [Q, W].
        key: int64 [N, W], what codes are XORed with before they are compared, or None.
        runs: In how many equal runs the words are; bit t differs if it does in any of them.

    Returns:
        int32 [Q, N].
    """
    result = torch.empty((len(queries), len(codes)), dtype=torch.int32, device=codes.device)
    if codes.device.type == "cpu":
        for row, start, found in _by_numpy(codes, queries, key, runs):
            result[row, start : start + len(found)] = torch.from_numpy(found)
    else:
        for start, block in _by_torch(codes, queries, key, runs):
            result[:, start : start + block.shape[1]] = block
    return result


def topk(codes: Tensor, queries: Tensor, key: Tensor | None, k: int, runs: int) -> tuple[Tensor, Tensor]:
    """The operator ``hamming_topk``.

    Args:
        codes: As in `distances`.
        queries: See there.
        key: See there.
        k: How many codes to find for each query, at least 1.
        runs: See there.

    Returns:
        Distances int32 [Q, min(k, N)] and ids int64 [Q, min(k, N)], ordered by both.
    """
    k = min(k, len(codes))
    return (_topk_by_numpy if codes.device.type == "cpu" else _topk_by_torch)(codes, queries, key, k, runs)


def _topk_by_numpy(codes: Tensor, queries: Tensor, key: Tensor | None, k: int, runs: int) -> tuple[Tensor, Tensor]:
    nearest = _Nearest(len(queries), k)
    for row, start, found in _by_numpy(codes, queries, key, runs):
        nearest.offer(row, start, found)
    return nearest.result()


def _topk_by_torch(codes: Tensor, queries: Tensor, key: Tensor | None, k: int, runs: int) -> tuple[Tensor, Tensor]:
    kept = torch.empty((len(queries), 0), dtype=torch.int64, device=codes.device)
    for start, block in _by_torch(codes, queries, key, runs):
        ids = torch.arange(start, start + block.shape[1], device=codes.device)
        kept = torch.cat([kept, (block.long() << 32) + ids], dim=1)
        kept = kept.topk(min(k, kept.shape[1]), dim=1, largest=False).values
    return (kept >> 32).int(), kept & 0xFFFFFFFF


def _by_numpy(
    codes: Tensor, queries: Tensor, key: Tensor | None, runs: int
) -> Iterator[tuple[int, int, NDArray[np.int32]]]:
    """Number of a query and of the first of some codes, and their distances int32 [rows]; codes only ever ascend."""
    gallery, probes = (words.numpy().view(np.uint64) for words in (codes, queries))
    pads = None if key is None else key.numpy().view(np.uint64)
    by_runs = probes.reshape(len(probes), runs, probes.shape[1] // runs, 1)
    for start in range(0, len(gallery), _ROWS):
        block = gallery[start : start + _ROWS].T.copy()
        if pads is not None:
            block ^= pads[start : start + _ROWS].T
        block = block.reshape(runs, len(block) // runs, block.shape[1])
        scratch = _Scratch(block.shape[1:])
        for row, query in enumerate(by_runs):
            yield row, start, scratch.distances(block, query)


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

    def result(self) -> tuple[Tensor, Tensor]:
        """All that was kept, in order."""
        kept = np.sort(np.array(self._kept, np.int64).reshape(len(self._kept), self._k), axis=1)
        return torch.from_numpy((kept >> 32).astype(np.int32)), torch.from_numpy(kept & 0xFFFFFFFF)


def _by_torch(codes: Tensor, queries: Tensor, key: Tensor | None, runs: int) -> Iterator[tuple[int, Tensor]]:
    """Number of the first of some codes, and their distances int32 [Q, rows]."""
    rows = max(1, _WORDS // max(1, queries.numel()))
    probes = queries.unflatten(1, (runs, -1))[:, None]
    for start in range(0, len(codes), rows):
        block = codes[start : start + rows]
        if key is not None:
            block = block ^ key[start : start + rows]
        by_runs = block.unflatten(1, (runs, -1))
        differ = by_runs[:, 0] ^ probes[:, :, 0]
        for run in range(1, runs):
            differ |= by_runs[:, run] ^ probes[:, :, run]
        yield start, _ones(differ).sum(dim=2, dtype=torch.int32)


def _ones(words: Tensor) -> Tensor:
    """Bits that are set, by sums over two, four and eight of them. Masks remove what a shift copies of the sign."""
    words = words - (words >> 1 & 0x5555555555555555)
    words = (words & 0x3333333333333333) + (words >> 2 & 0x3333333333333333)
    return (words + (words >> 4) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101 >> 56
