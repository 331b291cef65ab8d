"""K-fold verification on distances: accuracy, mean ROC and validation rate.

The protocol is that of Labeled Faces in the Wild (Huang et al. 2007) as the field computes it: contiguous folds, a
threshold chosen on the other folds. Every distance is put into its threshold bin once; histograms per fold and label
and their cumulative sums then give all counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.eval.operating_points import area_under_curve, equal_error_rate

__all__ = ["FoldResult", "ValResult", "check_folds", "fold_accuracy", "val_at_far"]

Array = NDArray[np.float64]

_MAX_DISTANCE = 4.0  # squared distance of two opposite unit vectors
_THRESHOLDS = np.arange(0, _MAX_DISTANCE, 0.01)


@dataclass(frozen=True)
class FoldResult:
    """Accuracy of k-fold verification.

    Attributes:
        accuracies: [k] share of right decisions in each fold.
        thresholds: [k] distance below which a pair is accepted, chosen on the other folds.
        accepted: bool [P], decision on every pair at the threshold of its fold.
        tpr: [T] true positive rate at the candidate thresholds, mean over the folds.
        fpr: [T] false positive rate.
    """

    accuracies: Array
    thresholds: Array
    accepted: NDArray[np.bool_]
    tpr: Array
    fpr: Array

    @property
    def eer(self) -> float:
        """Equal error rate of the mean ROC."""
        return equal_error_rate(self.fpr, self.tpr)

    @property
    def auc(self) -> float:
        """Area under the mean ROC between the rates that the candidate thresholds reach."""
        return area_under_curve(self.fpr, self.tpr)


@dataclass(frozen=True)
class ValResult:
    """Validation rate at a fixed false accept rate (Schroff et al. 2015, section 4), mean over folds.

    Attributes:
        val: Share of genuine pairs accepted.
        val_std: Population standard deviation of ``val`` over the folds.
        far: Share of impostor pairs accepted; it differs from the target since the threshold comes from other folds.
    """

    val: float
    val_std: float
    far: float


def fold_accuracy(
    distances: Array, same: NDArray[np.bool_], n_folds: int = 10, thresholds: Array = _THRESHOLDS
) -> FoldResult:
    """K-fold accuracy.

    A pair is accepted if its distance is strictly below the threshold. Of the candidate thresholds the smallest one
    with the most right decisions on the other folds is used.

    Args:
        distances: float64 [P]: by default squared Euclidean distances of unit vectors, 0..4.
        same: bool [P].
        n_folds: Contiguous folds; the first ``P mod n_folds`` hold one pair more.
        thresholds: [T] ascending candidates, by default 0, 0.01, ..., 3.99; other distances, such as the share of
            symbols in which two hashes differ, need others.

    Returns:
        Accuracies and thresholds of the folds, mean ROC.
    """
    accepted, pairs = _accepted(distances, same, thresholds, n_folds)
    right = accepted[:, 1] + pairs[:, :1] - accepted[:, 0]
    best = _other_folds(right).argmax(axis=1)
    rates = accepted / pairs[:, :, None]
    return FoldResult(
        accuracies=right[np.arange(n_folds), best] / pairs.sum(axis=1),
        thresholds=thresholds[best],
        accepted=distances < thresholds[best][_fold_of_pair(len(distances), n_folds)],
        tpr=rates[:, 1].mean(axis=0),
        fpr=rates[:, 0].mean(axis=0),
    )


def val_at_far(distances: Array, same: NDArray[np.bool_], far: float = 1e-3, n_folds: int = 10) -> ValResult:
    """Validation rate at a false accept rate, the threshold being interpolated on the other folds.

    The threshold is where the piecewise linear false accept rate over 0, 0.001, ..., 3.999 leaves ``far``, or 0
    if it never reaches ``far`` (Schroff et al. 2015, section 4; as the FaceNet reimplementations compute it).

    Args:
        distances: float64 [P], squared distances in 0..4.
        same: bool [P].
        far: Target false accept rate.
        n_folds: Contiguous folds, as in `fold_accuracy`.

    Returns:
        Mean and deviation of the validation rate, and the false accept rate really met.
    """
    grid = np.arange(0, _MAX_DISTANCE, 0.001)
    accepted, pairs = _accepted(distances, same, grid, n_folds)
    train_far = _other_folds(accepted[:, 0]) / _other_folds(pairs[:, :1])
    thresholds = np.array([_interpolated_threshold(rates, grid, far) for rates in train_far])
    fold = _fold_of_pair(len(distances), n_folds)
    hits = np.bincount(fold * 2 + same, weights=distances < thresholds[fold], minlength=2 * n_folds)
    rates = hits.reshape(n_folds, 2) / pairs
    return ValResult(float(rates[:, 1].mean()), float(rates[:, 1].std()), float(rates[:, 0].mean()))


def check_folds(same: NDArray[np.bool_], n_folds: int) -> None:
    """Refuse folds that cannot be judged.

    Args:
        same: bool [P].
        n_folds: Number of contiguous folds.

    Raises:
        UserError: ``n_folds`` is not in 1..P, or a fold holds no genuine or no impostor pair; it is named.
    """
    if not 1 <= n_folds <= len(same):
        raise UserError(f"n_folds must be from 1 to the number of pairs, {len(same)}, but is {n_folds}")
    for number, fold in enumerate(np.array_split(same, n_folds), start=1):
        if fold.all() or not fold.any():
            missing = "impostor" if fold.all() else "genuine"
            raise UserError(
                f"fold {number} of {n_folds} ({len(fold)} pairs) holds no {missing} pair. Folds are contiguous: "
                "order the pairs so that each fold holds both kinds, or lower n_folds"
            )


def _fold_of_pair(n_pairs: int, n_folds: int) -> NDArray[np.intp]:
    sizes = np.full(n_folds, n_pairs // n_folds)
    sizes[: n_pairs % n_folds] += 1
    return np.repeat(np.arange(n_folds), sizes)


def _accepted(
    distances: Array, same: NDArray[np.bool_], thresholds: Array, n_folds: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs accepted per fold, label and threshold [k, 2, T], and pairs per fold and label [k, 2]."""
    n_bins = len(thresholds) + 1
    # A pair is accepted by the thresholds above its distance: those from its bin on.
    bins = np.searchsorted(thresholds, distances, side="right")
    group = _fold_of_pair(len(distances), n_folds) * 2 + same
    histogram = np.bincount(group * n_bins + bins, minlength=2 * n_folds * n_bins)
    cumulative = histogram.reshape(n_folds, 2, n_bins).cumsum(axis=-1)
    return cumulative[..., :-1], cumulative[..., -1]


def _other_folds(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Counts [k, T] summed over all folds but one's own; a single fold is its own training set."""
    return counts.sum(axis=0) - counts if len(counts) > 1 else counts


def _interpolated_threshold(rates: Array, grid: Array, far: float) -> float:
    """Where the non-decreasing ``rates`` [T] over ``grid`` [T] leave ``far``; 0 if they never reach it."""
    if rates[-1] < far:
        return 0.0
    last = int(np.searchsorted(rates, far, side="right")) - 1
    if last == len(grid) - 1:
        return float(grid[last])
    share = (far - rates[last]) / (rates[last + 1] - rates[last])
    return float(grid[last] + share * (grid[last + 1] - grid[last]))
