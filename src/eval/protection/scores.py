"""How two codes are compared by who wants to link them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["LinkScore", "link_scores", "match", "relabelled_match"]

Array = NDArray[np.float64]
Codes = NDArray[np.uint8]

LinkScore = Literal["match", "relabelled"]
"""``"match"``: share of equal symbols; ``"relabelled"``: the same under the renaming of symbols that suits best."""

_MOST_CELLS = 1 << 24  # of the tables that are held at once, 128 MB


def match(a: Codes, b: Codes) -> Array:
    """Share of equal symbols.

    Args:
        a: uint8 [P, m].
        b: uint8 [P, m].

    Returns:
        float64 [P] in 0..1.
    """
    return (a == b).mean(axis=1)


def relabelled_match(a: Codes, b: Codes, q: int) -> Array:
    """Share of equal symbols under the one-to-one renaming of symbols that makes it largest.

    It undoes a table that all positions of a code share, without knowing it: the table is the assignment of the symbols
    of one code to those of the other that their q x q contingency table favours.

    Args:
        a: uint8 [P, m], values 0..q-1.
        b: uint8 [P, m], likewise.
        q: Alphabet size.

    Returns:
        float64 [P] in 0..1.
    """
    scores = np.empty(len(a))
    step = max(1, _MOST_CELLS // max(q * q, a.shape[1]))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        tables = _contingency(a[rows], b[rows], q)
        scores[rows] = [table[linear_sum_assignment(table, maximize=True)].sum() for table in tables]
    return scores / a.shape[1]


def link_scores(q: int) -> dict[LinkScore, Callable[[Codes, Codes], Array]]:
    """Both scores by name, of codes with ``q`` symbols."""
    return {"match": match, "relabelled": lambda a, b: relabelled_match(a, b, q)}


def _contingency(a: Codes, b: Codes, q: int) -> NDArray[np.int64]:
    """int64 [P, q, q], how often symbol i of ``a`` stands where symbol j of ``b`` does."""
    cells = (np.arange(len(a))[:, None] * q + a) * q + b
    return np.bincount(cells.ravel(), minlength=len(a) * q * q).reshape(-1, q, q)
