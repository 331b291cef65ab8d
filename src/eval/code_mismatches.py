"""In how many symbols or bits packed codes differ: of all pairs of two sets, or row by row.

Words are laid out as by `src.ops.code_bits`, but unsigned, so that all their bits are counted: of ``planes`` runs of
the same number of words, run j holds bit j of every symbol, and a symbol differs where any of its bits does. With one
plane every bit counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.ops.hamming import hamming_distances

__all__ = ["mismatches", "mismatches_of_all"]

Words = NDArray[np.uint64]


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
    return hamming_distances(gallery, probes, key=identifiers, metric="symbols", planes=planes).numpy()
