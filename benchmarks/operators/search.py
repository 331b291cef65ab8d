"""Search among packed codes, against faiss's exhaustive index of binary codes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.operators.measure import Case
from src.ops.code_bits import pack_planes
from src.ops.hamming import TopK, hamming_topk

__all__ = ["cases", "notes"]

K, LARGE, SMALL = 10, 1_000_000, 200_000
M, Q, PLANES = 512, 8, 3

Search = Callable[[], TopK]
Words = NDArray[np.int64]


def cases() -> list[Case]:
    """Bits and symbols; few and many queries. None without faiss."""
    return [*_bits(512, LARGE, {1: None, 4: 1.0, 16: 2.0, 128: 2.0}), *_bits(4096, SMALL, {1: None, 4: 1.0, 32: 6.0}),
            *_symbols(64, 10.0)] if find_spec("faiss") else []  # fmt: skip


def notes() -> Iterator[str]:
    """What was not compared, and times of a million codes."""
    if not find_spec("faiss"):
        yield "not compared: faiss-cpu is not installed (pip install -e .[dev])"
    torch.set_num_threads(1)
    for bits in (512, 4096):
        codes, key, queries = (_words(rows, bits // 64) for rows in (LARGE, LARGE, 128))
        for what, pads in (("", None), (", each XOR its key", key)):
            seconds = _seconds(partial(hamming_topk, codes, queries, K, key=pads))
            yield f"{LARGE:,} codes of {bits} bits{what}, {len(queries)} queries: {1e3 * seconds:.0f} ms"


def _bits(bits: int, rows: int, targets: dict[int, float | None]) -> Iterator[Case]:
    codes = _words(rows, bits // 64)
    index = _index(codes)
    for count, target in targets.items():
        queries = _words(count, bits // 64)
        ours, peer = partial(hamming_topk, codes, queries, K), partial(index.search, queries.view(np.uint8), K)
        _check(ours().distances.numpy(), peer()[0])
        yield Case(f"{rows:,} codes of {bits} bits, {count} queries", ours, peer, target=target)


def _symbols(count: int, target: float) -> Iterator[Case]:
    """Symbols as planes of bits; faiss can only compare them as one bit out of ``Q`` each, of which two then differ."""
    generator = torch.Generator().manual_seed(0)
    symbols = torch.randint(Q, (SMALL + count, M), dtype=torch.uint8, generator=generator)
    planes = pack_planes(symbols[..., None] >> torch.arange(PLANES, dtype=torch.uint8) & 1).numpy()
    one_hot = np.packbits(np.eye(Q, dtype=np.uint8), axis=1)[symbols.numpy(), 0]
    search = partial(_index(one_hot[:SMALL]).search, one_hot[SMALL:], K)
    ours = partial(hamming_topk, planes[:SMALL], planes[SMALL:], K, metric="symbols", planes=PLANES)
    _check(2 * ours().distances.numpy(), search()[0])
    yield Case(f"{SMALL:,} codes of {M}x{Q} symbols, {count} queries, one-hot", ours, search, target=target)


def _index(codes: NDArray[np.int64] | NDArray[np.uint8]):
    import faiss

    faiss.omp_set_num_threads(1)
    octets = codes.view(np.uint8)
    index = faiss.IndexBinaryFlat(8 * octets.shape[1])
    index.add(octets)
    return index


def _check(ours: NDArray[np.int32], theirs: NDArray[np.int32]) -> None:
    if not np.array_equal(ours, theirs):
        raise SystemExit("faiss finds other distances")


def _words(rows: int, width: int) -> Words:
    return np.random.default_rng(rows).integers(-(1 << 63), (1 << 63) - 1, (rows, width), endpoint=True)


def _seconds(search: Search) -> float:
    """CPU time, the median of five calls."""
    found = []
    for _ in range(5):
        start = time.thread_time()
        search()
        found.append(time.thread_time() - start)
    return statistics.median(found)
