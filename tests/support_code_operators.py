"""Values that the operators on codes must give, whichever implementation is in force."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from src.ops.code_bits import pack_planes, unpack_bits
from src.ops.hamming import hamming_distances, hamming_topk
from src.ops.hashing import group_argmax

SEARCHES = [
    # rows, queries, words of a run, runs, k, metric
    (3000, 9, 8, 3, 10, "symbols"),
    (3000, 5, 24, 1, 200, "bits"),
    (1023, 4, 33, 1, 1, "bits"),
    (1025, 3, 13, 2, 2000, "symbols"),
    (700, 6, 3, 7, 5, "symbols"),
    (17, 8, 64, 4, 3, "symbols"),
    (40_000, 2, 1, 1, 10, "bits"),
    (1, 1, 1, 1, 1, "bits"),
]
"""More than one tile of the compiled kernel, and codes, words, runs and queries that do not fill its vectors."""

GROUPS = [(3, 1), (100, 2), (33, 3), (1000, 8), (65, 15), (16, 16), (17, 63), (31, 64), (9, 100), (5, 256)]
"""Rows of 7 groups, and the elements of a group."""

PLANES = [(3, 64, 1), (2, 200, 3), (5, 63, 2), (1, 129, 16), (2, 70, 64), (2, 65, 67)]
"""Codes, symbols and bits."""

Words = NDArray[np.int64]


def random_words(rng: np.random.Generator, rows: int, width: int) -> Words:
    """Any bits."""
    return rng.integers(-(1 << 63), (1 << 63) - 1, (rows, width), endpoint=True)


def plain(codes: Words, queries: Words, metric: str, planes: int) -> NDArray[np.int64]:
    """Distances [Q, N] by the definition, one bit at a time."""
    differ = unpack_bits(codes[None] ^ queries[:, None], codes.shape[1] * 64).numpy()
    if metric == "symbols":
        differ = differ.reshape(*differ.shape[:2], planes, codes.shape[1] * 64 // planes).any(axis=2)
    return differ.sum(axis=2, dtype=np.int64)


def check_search(
    rows: int, queries: int, words: int, planes: int, k: int, metric: str, keyed: bool, few: bool, seed: int
) -> None:
    """Compare distances and the nearest codes with the definition; ``few`` makes for many equal distances."""
    rng = np.random.default_rng(seed)
    codes, probes = (random_words(rng, count, words * planes) for count in (rows, queries))
    if few:
        codes, probes = codes & 1, probes & 1
    key = random_words(rng, rows, words * planes) if keyed else None
    stored = codes if key is None else codes ^ key
    before = stored.copy()
    expected = plain(codes, probes, metric, planes)
    order = np.argsort(expected, axis=1, kind="stable")[:, :k]

    found = hamming_topk(torch.from_numpy(stored), torch.from_numpy(probes), k, key=key, metric=metric, planes=planes)
    assert found.distances.dtype == torch.int32
    assert found.ids.dtype == torch.int64
    assert found.ids.shape == found.distances.shape == (queries, min(k, rows))
    np.testing.assert_array_equal(found.ids, order)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(expected, order, axis=1))

    distances = hamming_distances(stored, probes.view(np.uint64), key=key, metric=metric, planes=planes)
    assert distances.dtype == torch.int32
    np.testing.assert_array_equal(distances, expected)
    np.testing.assert_array_equal(stored, before)


def check_argmax(rows: int, q: int, dtype: torch.dtype, few: bool, seed: int) -> None:
    """Compare with NumPy, which promises the first of equal values; ``few`` makes for many of those."""
    logits = torch.randn(rows, 7 * q, generator=torch.Generator().manual_seed(seed)).to(dtype)
    if few:
        logits = logits.round()
    codes = group_argmax(logits, q)
    assert codes.dtype == torch.uint8
    assert codes.shape == (rows, 7)
    np.testing.assert_array_equal(codes, logits.double().numpy().reshape(rows, 7, q).argmax(axis=2))


def check_planes(rows: int, m: int, b: int, seed: int) -> None:
    """Compare with the definition."""
    bits = np.random.default_rng(seed).integers(0, 2, (rows, m, b), dtype=np.uint8)
    words = pack_planes(bits)
    assert words.dtype == torch.int64
    assert words.shape == (rows, b * -(-m // 64))
    expected = np.zeros((rows, b, words.shape[1] // b * 64), np.uint8)
    expected[..., :m] = bits.swapaxes(1, 2)
    np.testing.assert_array_equal(unpack_bits(words, words.shape[1] * 64), expected.reshape(rows, words.shape[1] * 64))


def check_all() -> None:
    """Every case once."""
    for number, case in enumerate(SEARCHES):
        for keyed in (False, True):
            check_search(*case, keyed=keyed, few=number % 2 == keyed, seed=number)
    for number, (rows, q) in enumerate(GROUPS):
        for dtype in (torch.float32, torch.float64):
            for few in (False, True):
                check_argmax(rows, q, dtype, few, number)
    for number, (rows, m, b) in enumerate(PLANES):
        check_planes(rows, m, b, number)
