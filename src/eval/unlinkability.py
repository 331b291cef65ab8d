"""Whether protected templates of one person can be linked (Gomez-Barrero et al. 2018, IEEE TIFS 13(6)).

Mated scores compare two templates of one person under different keys, non-mated scores templates of different people
under different keys. Written from the formulas of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from src.errors import UserError, check_choice

__all__ = ["MINIMUM", "RELIABLE", "Integral", "Unlinkability", "d_sys", "null_bias"]

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

Integral = Literal["sum", "trapz"]

MINIMUM = 100
"""Scores of a kind without which nothing can be said."""
RELIABLE = 10_000
"""Scores of a kind from which on templates that nobody can link give less than 0.02 or so, see `null_bias`."""

_MOST_BINS = 100
_SMALLEST = 1e-9  # range of scores that are not all the same, relative to the largest


@dataclass(frozen=True)
class Unlinkability:
    """How well mated and non-mated scores can be told apart.

    Attributes:
        d_sys: 0 where templates cannot be linked, 1 where everyone can be by every score.
        edges: float64 [B + 1] ascending edges of the bins.
        mated: int64 [B] mated scores in each bin.
        non_mated: int64 [B] non-mated scores.
        local: float64 [B] in 0..1, how much more a score in the bin speaks for one person than for two.
    """

    d_sys: float
    edges: Array
    mated: Counts
    non_mated: Counts
    local: Array

    @property
    def is_reliable(self) -> bool:
        """Whether there are enough scores of both kinds for the estimate's bias to be small."""
        return min(self.mated.sum(), self.non_mated.sum()) >= RELIABLE


def d_sys(
    mated: ArrayLike,
    non_mated: ArrayLike,
    omega: float = 1.0,
    bins: int | None = None,
    integral: Integral = "sum",
) -> Unlinkability:
    """Global and local linkability, D_sys and D(s), of two sets of scores.

    Where a score speaks for one person, LR(s) > 1 / omega, D(s) = (omega LR(s) - 1) / (omega LR(s) + 1), else 0; D_sys
    is its mean over the mated scores. A score that only mated templates have links them for certain.

    Args:
        mated: [n] scores of templates of one person under different keys, at least 100, finite.
        non_mated: [n'] scores of templates of different people under different keys, likewise.
        omega: How much likelier mated comparisons are than non-mated ones.
        bins: Number of bins of the histograms; by default a tenth of the mated scores, at most 100.
        integral: ``"sum"`` over the bins; ``"trapz"``: as the authors' script, which loses half a bin at both ends, so
            that templates that anyone can link have 0.975.

    Returns:
        The measure and what it is made of.

    Raises:
        UserError: There are too few scores, some are not finite, or another argument is out of its range.
    """
    check_choice("integral", integral, get_args(Integral))
    first, second = _checked("mated", mated), _checked("non_mated", non_mated)
    if not omega > 0:
        raise UserError(f"omega={omega}: expected a ratio of probabilities, above 0")
    return _measure(first, second, _edges(first, second, bins), omega, integral)


def null_bias(
    mated: ArrayLike,
    non_mated: ArrayLike,
    omega: float = 1.0,
    bins: int | None = None,
    integral: Integral = "sum",
    *,
    shuffles: int = 5,
    seed: int = 0,
) -> float:
    """D_sys of the same scores with their labels shuffled: what comes of chance and of the histogram alone.

    Args:
        mated: As of `d_sys`, like the next ones.
        non_mated: Scores of different people.
        omega: Prior ratio.
        bins: Number of bins.
        integral: How it is integrated.
        shuffles: Number of shuffles to average over.
        seed: Of the shuffles.
    """
    first, second = _checked("mated", mated), _checked("non_mated", non_mated)
    edges = _edges(first, second, bins)
    scores, generator = np.concatenate([first, second]), np.random.default_rng(seed)
    values = []
    for _ in range(shuffles):
        generator.shuffle(scores)
        values.append(_measure(scores[: len(first)], scores[len(first) :], edges, omega, integral).d_sys)
    return float(np.mean(values))


def _measure(mated: Array, non_mated: Array, edges: Array, omega: float, integral: Integral) -> Unlinkability:
    counts, other_counts = (np.histogram(scores, edges)[0].astype(np.int64) for scores in (mated, non_mated))
    # All bins are equally wide, so that shares stand for densities.
    share, other = (found / found.sum() for found in (counts, other_counts))
    weighed = omega * share
    # (omega LR - 1) / (omega LR + 1) without the division by densities that may be 0: alone, mated scores give 1.
    total = weighed + other
    local = np.divide(weighed - other, total, out=np.zeros_like(total), where=weighed > other)
    product = share * local
    value = product.sum() if integral == "sum" else product.sum() - (product[0] + product[-1]) / 2
    return Unlinkability(float(value), edges, counts, other_counts, local)


def _edges(mated: Array, non_mated: Array, bins: int | None) -> Array:
    bins = min(len(mated) // 10, _MOST_BINS) if bins is None else bins
    if bins < 2:
        raise UserError(f"bins={bins}: expected two or more")
    low, high = min(mated.min(), non_mated.min()), max(mated.max(), non_mated.max())
    if high - low <= _SMALLEST * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5  # all scores are the same but for rounding
    return np.linspace(low, high, bins + 1)


def _checked(name: str, scores: ArrayLike) -> Array:
    array = np.asarray(scores, np.float64)
    if array.ndim != 1 or len(array) < MINIMUM or not np.isfinite(array).all():
        raise UserError(
            f"{name}: expected {MINIMUM} finite scores or more to measure linkability by, "
            f"found an array of shape {list(array.shape)}"
            + ("" if np.isfinite(array).all() else " with NaN or infinity")
        )
    return array
