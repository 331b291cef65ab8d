"""Exact ROC curve of a set of comparisons: true accept rate at a false accept rate, equal error rate, area.

Two sorted arrays of scores hold everything; sorting them is most of the work, so that tens of millions of comparisons
take a fraction of a second. Scores keep their precision: float32 is never widened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError

__all__ = [
    "OperatingPoint",
    "RocCurve",
    "allowed_false_accepts",
    "area_under_curve",
    "equal_error_rate",
    "exponent",
    "far_operating_points",
    "nearest_corner",
    "roc_curve",
]

Array = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class RocCurve:
    """Scores of genuine and of impostor comparisons and the corners of their ROC curve.

    Corners are the thresholds that scikit-learn's ``roc_curve`` keeps: of several distinct scores in a row that accept
    equally many genuine and equally many impostor comparisons more, only the last.

    Attributes:
        genuine: [P] ascending scores; higher means more alike.
        impostor: [N] ascending scores of the same dtype.
    """

    genuine: Scores
    impostor: Scores

    @cached_property
    def corners(self) -> tuple[Scores, Counts, Counts]:
        """Thresholds [R] descending from infinity, and the impostor and genuine comparisons that reach them."""
        scores = np.sort(np.concatenate([self.genuine, self.impostor]))
        starts, ties = _runs_near_corners(scores, self.genuine)
        below = np.searchsorted(self.genuine, scores[starts])
        genuine_ties = np.diff(below, append=len(self.genuine))
        kept = np.ones(len(starts), np.bool_)
        kept[1:-1] = (ties[1:-1] != ties[:-2]) | (genuine_ties[1:-1] != genuine_ties[:-2])
        starts, accepted = starts[kept][::-1], len(self.genuine) - below[kept][::-1]
        return (
            np.concatenate([np.array([np.inf], scores.dtype), scores[starts]]),
            np.concatenate([[0], len(scores) - starts - accepted]),
            np.concatenate([[0], accepted]),
        )

    @cached_property
    def fpr(self) -> Array:
        """[R] false accept rates of the corners, ascending from 0 to 1."""
        return self.corners[1] / len(self.impostor)

    @cached_property
    def tpr(self) -> Array:
        """[R] true accept rates of the corners, ascending from 0 to 1."""
        return self.corners[2] / len(self.genuine)

    @property
    def eer(self) -> float:
        """Equal error rate."""
        return equal_error_rate(self.fpr, self.tpr)

    @property
    def auc(self) -> float:
        """Area under the curve."""
        return area_under_curve(self.fpr, self.tpr)


def roc_curve(scores: Scores, same: NDArray[np.bool_]) -> RocCurve:
    """ROC curve of comparisons.

    Args:
        scores: float32 or float64 [n], finite, higher means more alike.
        same: bool [n], true for a genuine comparison.

    Returns:
        The curve; its corners are computed when first needed.

    Raises:
        UserError: There are no genuine or no impostor comparisons.
    """
    genuine, impostor = scores[same], scores[~same]
    for kind, values in (("genuine", genuine), ("impostor", impostor)):
        if not len(values):
            raise UserError(f"none of the {len(scores)} comparisons is {kind}; a ROC curve needs both kinds")
        values.sort()
    return RocCurve(genuine, impostor)


def _runs_near_corners(scores: Scores, genuine: Scores) -> tuple[Counts, Counts]:
    """First index and length of runs of equal scores; of lone impostors among lone impostors, which are most, none.

    Args:
        scores: [n] ascending scores of all comparisons.
        genuine: Those of the genuine ones.

    Returns:
        [M] and [M]: all runs that hold several or genuine scores, their neighbours, the first and the last run.
    """
    first = np.ones(len(scores) + 1, np.bool_)  # of its run; the entry past the end closes the last one
    np.not_equal(scores[1:], scores[:-1], out=first[1:-1])
    special = ~(first[:-1] & first[1:])
    special[np.searchsorted(scores, genuine)] = True
    wanted = first[:-1].copy()
    wanted[1:-1] &= special[:-2] | special[1:-1] | special[2:]
    starts = np.flatnonzero(wanted)
    # The run after a special one is wanted, so that the distance to it is the length.
    return starts, np.where(special[starts], np.diff(starts, append=len(scores)), 1)


def equal_error_rate(fpr: Array, tpr: Array) -> float:
    """Equal error rate: root of ``1 - x - TPR(x)``, the straight pieces of the ROC being ``TPR``.

    Of several points with the same false accept rate the last one counts. Beyond its ends the curve goes on level, so
    that there always is a root.

    Args:
        fpr: [R] non-decreasing false accept rates: the corners of a `RocCurve` or the mean over folds at given
            thresholds, `kfold.FoldResult`.
        tpr: [R] non-decreasing true accept rates.
    """
    fpr, tpr = np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([tpr[:1], tpr, tpr[-1:]])
    return float(np.interp(0.0, fpr + tpr - 1, fpr))


def area_under_curve(fpr: Array, tpr: Array) -> float:
    """Area below the straight pieces between points with non-decreasing ``fpr`` [R] and ``tpr`` [R]."""
    return float(np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2)


@dataclass(frozen=True)
class OperatingPoint:
    """True accept rate at a false accept rate, by two rules. All values are NaN if ``far_target`` is too small.

    The nearest rule takes the corner of the ROC whose false accept rate is closest to the target (it may exceed it);
    published tables use it. The strict rule never exceeds the target.

    Attributes:
        far_target: False accept rate that was asked for.
        tar: True accept rate by the nearest rule.
        far: False accept rate of that corner.
        threshold: Score from which on pairs are accepted there.
        tar_strict: True accept rate by the strict rule.
        far_strict: False accept rate of the strict rule.
        threshold_strict: Score strictly above which pairs are accepted there.
    """

    far_target: float
    tar: float
    far: float
    threshold: float
    tar_strict: float
    far_strict: float
    threshold_strict: float

    @property
    def metrics(self) -> dict[str, float]:
        """The rates by their names in results: ``tar@1e-3``, ``far@1e-3`` and ``tar_strict@1e-3``."""
        name = exponent(self.far_target)
        return {f"tar@{name}": self.tar, f"far@{name}": self.far, f"tar_strict@{name}": self.tar_strict}


def far_operating_points(curve: RocCurve, fars: Iterable[float]) -> tuple[OperatingPoint, ...]:
    """True accept rates at given false accept rates, by the nearest and by the strict rule.

    Args:
        curve: Of the comparisons.
        fars: Target false accept rates. One below 1 / (impostor comparisons) cannot be measured and gives NaN.

    Returns:
        One point per target, in the given order.
    """
    return tuple(_operating_point(curve, far) for far in fars)


def _operating_point(curve: RocCurve, far: float) -> OperatingPoint:
    genuine, impostor = curve.genuine, curve.impostor
    allowed = allowed_false_accepts(far, len(impostor))
    if allowed < 1:
        return OperatingPoint(far, *[math.nan] * 6)
    corner = nearest_corner(curve.fpr, far)
    strict = impostor[-allowed - 1] if allowed < len(impostor) else -math.inf
    return OperatingPoint(
        far_target=far,
        tar=float(curve.tpr[corner]),
        far=float(curve.fpr[corner]),
        threshold=float(curve.corners[0][corner]),
        tar_strict=_share_above(genuine, strict),
        far_strict=_share_above(impostor, strict),
        threshold_strict=float(strict),
    )


def _share_above(ascending: Scores, threshold: float) -> float:
    return float((len(ascending) - np.searchsorted(ascending, threshold, side="right")) / len(ascending))


def allowed_false_accepts(far: float, n_impostors: int) -> int:
    """Largest number of false accepts among ``n_impostors`` comparisons that keeps the rate ``far``."""
    # The summand keeps far * n whole where rounding made it a hair less, as 0.29 * 100 is.
    return math.floor(far * n_impostors + 1e-9)


def nearest_corner(rates: Array, target: float) -> int:
    """Last index of the value of ``rates`` [R], ascending from 0, nearest to ``target``; of two the larger value."""
    below = int(np.searchsorted(rates, target, side="right")) - 1
    above = int(np.searchsorted(rates, rates[min(below + 1, len(rates) - 1)], side="right")) - 1
    return above if rates[above] - target <= target - rates[below] else below


def exponent(rate: float) -> str:
    """``1e-3`` for 0.001, as rates are written in names of metrics."""
    return f"{rate:.0e}".replace("e-0", "e-")
