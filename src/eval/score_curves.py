"""What reports draw of comparisons, small enough for a results file: thinned curves, histogram, hardest pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.eval.operating_points import RocCurve, Scores, nearest_corner
from src.eval.score import Line, ScoreHistogram

__all__ = ["HARDEST", "hardest", "score_histogram", "thin_curve"]

Array = NDArray[np.float64]

HARDEST = 12
"""How many pairs of a kind a report shows."""

_BINS = 60
_POINTS = 400


def thin_curve(rates: Array, values: Array, points: int = _POINTS) -> Line:
    """At most ``points`` corners of a curve, evenly spaced over the logarithm of the rate.

    Both ends and the corner nearest to each power of ten are among them.

    Args:
        rates: [R] non-decreasing from 0: false accept rates or false positive identification rates.
        values: [R] what is drawn over them.
        points: More than the powers of ten that ``rates`` span.

    Returns:
        Rates and values.
    """
    if len(rates) > points:
        lowest = rates[rates > 0][0]
        decades = 10.0 ** np.arange(math.ceil(math.log10(lowest)), 1)
        spaced = np.geomspace(lowest, rates[-1], points - len(decades) - 2)
        corners = np.searchsorted(rates, spaced, side="right") - 1
        nearest = [nearest_corner(rates, decade) for decade in decades]
        kept = np.unique(np.concatenate([[0], corners, nearest, [len(rates) - 1]]))
        rates, values = rates[kept], values[kept]
    return rates.tolist(), values.tolist()


def score_histogram(curve: RocCurve, threshold: float | None = None) -> ScoreHistogram:
    """Histogram of the scores of a curve in 60 bins of the same width.

    Args:
        curve: Of the comparisons.
        threshold: Score from which on the benchmark accepts, if it has a single one.
    """
    low = float(min(curve.genuine[0], curve.impostor[0]))
    high = float(max(curve.genuine[-1], curve.impostor[-1]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1).astype(curve.impostor.dtype)
    return ScoreHistogram(edges.tolist(), _counts(curve.genuine, edges), _counts(curve.impostor, edges), threshold)


def _counts(ascending: Scores, edges: NDArray[np.floating[Any]]) -> list[int]:
    # The last bin holds its upper edge too.
    below = np.append(np.searchsorted(ascending, edges[:-1]), len(ascending))
    return [int(count) for count in np.diff(below)]


def hardest(scores: Scores, same: NDArray[np.bool_], count: int = HARDEST) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Comparisons that are most likely judged wrongly.

    Args:
        scores: [n], higher means more alike.
        same: bool [n], true for a genuine comparison.
        count: How many of each kind at most.

    Returns:
        Indices of the impostor comparisons with the highest scores, falling, and of the genuine comparisons with the
        lowest, rising.
    """
    n_genuine = int(np.count_nonzero(same))
    false_matches = _smallest(np.where(same, np.inf, -scores), min(count, len(same) - n_genuine))
    false_non_matches = _smallest(np.where(same, scores, np.inf), min(count, n_genuine))
    return false_matches, false_non_matches


def _smallest(values: Scores, count: int) -> NDArray[np.intp]:
    if count == 0:
        return np.empty(0, np.intp)
    indices = np.argpartition(values, count - 1)[:count]
    return indices[np.argsort(values[indices], kind="stable")]
