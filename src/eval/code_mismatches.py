"""In how many symbols or bits packed codes differ: of all pairs of two sets, or row by row.

Words are laid out as by `src.ops.code_bits`, but unsigned, so that all their bits are counted: of ``planes`` runs of
the same number of words, run j holds bit j of every symbol, and a symbol differs where any of its bits does. With one
plane every bit counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mismatches", "mismatches_of_all"]

Words = NDArray[np.uint64]

_BLOCK = 1 << 15  # comparisons made together: few enough to stay in the cache


def mismatches(difference: Words, planes: int = 1) -> NDArray[np.int64]:
    """Symbols that differ.

    Args:
        difference: uint64 [P, W], a code XOR another.
        planes: Runs of words.

    Returns:
        int64 [P].
    """
    any_bit = np.bitwise_or.reduce(difference.reshape(len(difference), planes, -1), axis=1)
    return np.bitwise_count(any_bit).sum(axis=1, dtype=np.int64)


def mismatches_of_all(
    probes: Words, gallery: Words, planes: int = 1, identifiers: Words | None = None
) -> NDArray[np.int32]:
    """Symbols in which each probe differs from each gallery entry.

    Args:
        probes: uint64 [S, W].
        gallery: uint64 [G, W]; of protected templates as they are stored, a code XOR its identifier.
        planes: Runs of words.
        identifiers: uint64 [G, W], against which a stored template XOR a probe is matched; None: nothing is protected.

    Returns:
        int32 [S, G].
    """
    stored = np.ascontiguousarray(gallery.T)
    pads = None if identifiers is None else np.ascontiguousarray(identifiers.T)
    counts = np.empty((len(probes), len(gallery)), np.int32)
    step = max(1, _BLOCK // max(1, len(gallery)))
    for start in range(0, len(probes), step):
        rows = slice(start, start + step)
        counts[rows] = _block(probes[rows].T, stored, planes, pads)
    return counts


def _block(probes: Words, stored: Words, planes: int, pads: Words | None) -> NDArray[np.int32]:
    """Counts [s, G] of probes [W, s] and a gallery [W, G]."""
    words = len(stored) // planes
    shape = (probes.shape[1], stored.shape[1])
    counts = np.zeros(shape, np.int32)
    differs, plane, popcount = np.empty(shape, np.uint64), np.empty(shape, np.uint64), np.empty(shape, np.uint8)
    for word in range(words):
        for number, row in enumerate(range(word, len(stored), words)):
            difference = plane if number else differs
            np.bitwise_xor(probes[row, :, None], stored[row], out=difference)
            if pads is not None:
                np.bitwise_xor(difference, pads[row], out=difference)
            if number:
                np.bitwise_or(differs, plane, out=differs)
        counts += np.bitwise_count(differs, out=popcount)
    return counts
