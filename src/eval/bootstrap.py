"""Percentile bootstrap: how far a metric would have moved with other comparisons or searches of the same kind.

Genuine and impostor comparisons are resampled independently of each other and as if each were independent of the rest.
Those that share an image or a person are not, so the intervals are a lower bound of the uncertainty (Bolle, Ratha and
Pankanti 2004, "Error analysis of pattern recognition systems: the subsets bootstrap").

No score is ever drawn. What a metric needs of a resample follows a known law: the number of resampled scores in a range
is multinomial, and the place of the k-th highest of n resampled scores is n times a Beta(k, n - k + 1) variable. That
is exact, and it costs the same for six thousand comparisons and for sixteen million.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from src.eval.operating_points import OperatingPoint, RocCurve, allowed_false_accepts, exponent

__all__ = [
    "Interval",
    "interval",
    "resample_accuracy",
    "resample_eer_and_auc",
    "resample_mean",
    "resample_tar",
    "verification_intervals",
]

Array = NDArray[np.float64]
Interval = tuple[float, float]

_RANGES = 400  # per spacing; finer ones change the result by less than the draws do


def interval(samples: Array) -> Interval:
    """Central 95 % of resampled values [R], low and high."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def verification_intervals(
    curve: RocCurve, points: Iterable[OperatingPoint], resamples: int, generator: Generator
) -> dict[str, Interval]:
    """Intervals of what a ROC curve tells.

    Args:
        curve: Of the comparisons.
        points: Operating points on it. ``tar_strict`` is resampled by the strict rule at the target, ``tar`` at the
            false accept rate that its corner really has.
        resamples: Number of resamples R.
        generator: Source of randomness.

    Returns:
        By name of metric: ``eer``, ``auc`` and, for each point that the impostors resolve, ``tar@...`` and
        ``tar_strict@...``.
    """
    eer, auc = resample_eer_and_auc(curve, resamples, generator)
    intervals = {"eer": interval(eer), "auc": interval(auc)}
    for point in points:
        n, name = len(curve.impostor), exponent(point.far_target)
        if allowed := allowed_false_accepts(point.far_target, n):
            nearest = round(point.far * n)
            intervals[f"tar@{name}"] = interval(resample_tar(curve, nearest, resamples, generator))
            intervals[f"tar_strict@{name}"] = interval(resample_tar(curve, allowed, resamples, generator))
    return intervals


def resample_tar(curve: RocCurve, false_accepts: int, resamples: int, generator: Generator) -> Array:
    """True accept rates of resamples by the strict rule; exact.

    In each of them comparisons are accepted strictly above the highest impostor score but ``false_accepts``.

    Args:
        curve: Of the comparisons.
        false_accepts: How many the strict rule allows at most, as `allowed_false_accepts` counts them.
        resamples: Number of resamples R.
        generator: Source of randomness.

    Returns:
        [R] rates.
    """
    n_genuine, n_impostor = len(curve.genuine), len(curve.impostor)
    if false_accepts >= n_impostor:
        return np.ones(resamples)
    places = (generator.beta(false_accepts + 1, n_impostor - false_accepts, resamples) * n_impostor).astype(np.intp)
    thresholds = curve.impostor[n_impostor - 1 - np.minimum(places, n_impostor - 1)]
    accepted = n_genuine - np.searchsorted(curve.genuine, thresholds, side="right")
    return generator.binomial(n_genuine, accepted / n_genuine) / n_genuine


def resample_eer_and_auc(curve: RocCurve, resamples: int, generator: Generator) -> tuple[Array, Array]:
    """Equal error rates and areas under the curve of resamples.

    The scores between two corners of the ROC count as a range whose order does not matter, as is true of the resamples
    too. Where there are more than some thousand corners, some are passed over.

    Args:
        curve: Of the comparisons.
        resamples: Number of resamples R.
        generator: Source of randomness.

    Returns:
        Equal error rates [R] and areas [R].
    """
    kept = _corners_to_resample(curve)
    fpr, tpr = (_resampled_rates(np.diff(counts[kept]), resamples, generator) for counts in curve.corners[1:])
    auc = (np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1])).sum(axis=1) / 2
    # fpr + tpr - 1 rises from -1 to 1; its zero is where the straight pieces meet fpr = 1 - tpr.
    excess = fpr + tpr - 1
    row = np.arange(resamples)
    after = (excess >= 0).argmax(axis=1)
    before = after - 1
    share = excess[row, before] / (excess[row, before] - excess[row, after])
    eer = fpr[row, before] + share * (fpr[row, after] - fpr[row, before])
    return eer, auc


def _corners_to_resample(curve: RocCurve) -> NDArray[np.intp]:
    """Indices of all corners or, of many, of those evenly spaced over both error rates and over their logarithms."""
    fpr, fnr = curve.fpr, 1 - curve.tpr[::-1]
    last = len(fpr) - 1
    if last <= 3 * _RANGES:
        return np.arange(last + 1)
    even = np.searchsorted(fpr - fnr[::-1], np.linspace(-1, 1, _RANGES))
    low_fpr = np.searchsorted(fpr, np.geomspace(1 / len(curve.impostor), 1, _RANGES))
    low_fnr = last - np.searchsorted(fnr, np.geomspace(1 / len(curve.genuine), 1, _RANGES))
    return np.unique(np.concatenate([[0, last], even, low_fpr, low_fnr]).clip(0, last))


def _resampled_rates(counts: NDArray[np.int64], resamples: int, generator: Generator) -> Array:
    """[R, B + 1] cumulative shares, from 0 to 1, of resamples of comparisons of which ``counts`` [B] fall in ranges."""
    total = counts.sum()
    drawn = generator.multinomial(total, counts / total, resamples)
    return np.pad(drawn.cumsum(axis=1), ((0, 0), (1, 0))) / total


def resample_accuracy(accuracies: Array, sizes: ArrayLike, resamples: int, generator: Generator) -> Array:
    """Mean accuracies over folds in which the right and wrong decisions are resampled.

    Args:
        accuracies: float64 [k], share of right decisions in each fold.
        sizes: int [k], pairs in each fold.
        resamples: Number of resamples R.
        generator: Source of randomness.

    Returns:
        [R] accuracies; the thresholds stay as they were chosen.
    """
    sizes = np.asarray(sizes)
    return (generator.binomial(sizes, accuracies, (resamples, len(sizes))) / sizes).mean(axis=1)


def resample_mean(values: NDArray[Any], resamples: int, generator: Generator) -> Array:
    """Means of resamples of ``values``.

    Args:
        values: bool or float [n], one for each search: whether its mate was found, or its average precision.
        resamples: Number of resamples R.
        generator: Source of randomness.

    Returns:
        [R] means.
    """
    distinct, counts = np.unique(values, return_counts=True)
    drawn = generator.multinomial(len(values), counts / len(values), resamples)
    return drawn @ distinct.astype(np.float64) / len(values)
