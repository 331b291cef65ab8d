"""Points of the ROC curve: true accept rate at a false accept rate, equal error rate, area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curves", "OperatingPoint", "far_operating_points", "roc_curves"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Scores of a verification set and their ROC curve.

    Attributes:
        scores: float64 [P] similarities, higher means more alike.
        same: bool [P], true for a genuine pair.
        fpr: [R] false accept rates, ascending from 0 to 1.
        tpr: [R] true accept rates.
        eer: Equal error rate: where the straight pieces of the ROC meet ``fpr = 1 - tpr``.
        auc: Area under the ROC curve.
    """

    scores: Array
    same: NDArray[np.bool_]
    fpr: Array
    tpr: Array
    eer: float
    auc: float


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


def roc_curves(scores: Array, same: NDArray[np.bool_]) -> Curves:
    """ROC curve with its equal error rate and area.

    Args:
        scores: float64 [P], higher means more alike.
        same: bool [P]; both kinds must occur.

    Returns:
        The scores with their curve.
    """
    from sklearn.metrics import auc, roc_curve

    fpr, tpr, _ = roc_curve(same, scores)
    # fpr - (1 - tpr) rises strictly from corner to corner, so its zero is unique.
    eer = float(np.interp(0.0, fpr + tpr - 1, fpr))
    return Curves(scores, same, fpr, tpr, eer, float(auc(fpr, tpr)))


def far_operating_points(scores: Array, same: NDArray[np.bool_], fars: Sequence[float]) -> tuple[OperatingPoint, ...]:
    """True accept rates at given false accept rates, by the nearest and by the strict rule.

    Args:
        scores: float [P], higher means more alike.
        same: bool [P]; both kinds must occur.
        fars: Target false accept rates. One below 1 / (impostor pairs) cannot be measured and gives NaN.

    Returns:
        One point per target, in the given order.
    """
    from sklearn.metrics import roc_curve

    fpr, tpr, thresholds = (values[::-1] for values in roc_curve(same, scores))
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])[::-1]
    points = []
    for far in fars:
        # The summand keeps far * n whole where rounding made it a hair less, as 0.29 * 100 is.
        budget = math.floor(far * len(impostor) + 1e-9)
        if budget < 1:
            points.append(OperatingPoint(far, *[math.nan] * 6))
            continue
        nearest = np.abs(fpr - far).argmin()
        strict = impostor[budget] if budget < len(impostor) else -math.inf
        accepted = len(genuine) - np.searchsorted(genuine, strict, side="right")
        points.append(
            OperatingPoint(
                far_target=far,
                tar=float(tpr[nearest]),
                far=float(fpr[nearest]),
                threshold=float(thresholds[nearest]),
                tar_strict=float(accepted / len(genuine)),
                far_strict=float(np.count_nonzero(impostor > strict) / len(impostor)),
                threshold_strict=float(strict),
            )
        )
    return tuple(points)
