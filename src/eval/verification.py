"""Face verification: are two faces of the same person? Accuracy by k-fold, ROC, EER and AUC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from src.errors import UserError
from src.eval.collector import check_finite
from src.eval.kfold import FoldResult, ValResult, check_folds, fold_accuracy, val_at_far
from src.eval.operating_points import OperatingPoint, RocCurve, far_operating_points, roc_curve

__all__ = [
    "FARS",
    "Compare",
    "VerificationResult",
    "l2_normalise",
    "squared_distances",
    "verify",
]

Array = NDArray[np.float64]

Compare = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Similarities [P] in [-1, 1] of templates [P, D] to templates [P, D], as they are, not scaled."""

FARS = (1e-3, 1e-2, 1e-1)
"""False accept rates that a set of 6,000 pairs can resolve."""


@dataclass(frozen=True)
class VerificationResult:
    """What `verify` measures. Rates are fractions of 1, thresholds are squared distances in 0..4.

    Attributes:
        accuracy: Mean accuracy over the folds.
        accuracy_std: Population standard deviation over the folds, the "±" of most papers.
        accuracy_stderr: Standard error of the mean (LFW's official "±"); NaN for one fold.
        threshold: Mean over the folds of the chosen threshold.
        eer: Equal error rate.
        auc: Area under the ROC curve.
        val: Validation rate at a false accept rate of 0.001.
        operating_points: True accept rates at `FARS`.
        folds: Accuracy and threshold of every fold.
        scores: float64 [P] similarities of the pairs.
        same: bool [P], true for a genuine pair.
        roc: ROC curve of the scores.
    """

    accuracy: float
    accuracy_std: float
    accuracy_stderr: float
    threshold: float
    eer: float
    auc: float
    val: ValResult
    operating_points: tuple[OperatingPoint, ...]
    folds: FoldResult
    scores: Array
    same: NDArray[np.bool_]
    roc: RocCurve

    @property
    def tar_at_far(self) -> dict[float, float]:
        """True accept rate by target false accept rate, nearest point of the ROC; NaN: too few impostors."""
        return {point.far_target: point.tar for point in self.operating_points}


def verify(
    a: ArrayLike | torch.Tensor,
    b: ArrayLike | torch.Tensor,
    same: ArrayLike | torch.Tensor,
    n_folds: int = 10,
    compare: Compare | None = None,
) -> VerificationResult:
    """Judge pairs of embeddings.

    Args:
        a: [P, D] embeddings of the first face of every pair, any scale: they are L2-normalised in float64.
        b: [P, D] embeddings of the second face.
        same: bool [P], true for a genuine pair. The order of the pairs defines the folds.
        n_folds: Number of contiguous folds; 1 means that the threshold is chosen on the pairs it is judged on.
        compare: Gives the similarities of the pairs; by default their cosine. Of a similarity s the distance is 2 - 2s,
            as it is of unit vectors.

    Returns:
        Accuracy, threshold, error rates, scores and their ROC curve.

    Raises:
        UserError: Shapes disagree, an embedding is not finite, or a fold lacks genuine or impostor pairs.
    """
    first, second = _float64(a), _float64(b)
    labels = _float64(same).astype(bool)
    if first.ndim != 2 or first.shape != second.shape or labels.shape != first.shape[:1]:
        raise UserError(
            "verify expects a [P, D], b [P, D] and same [P], "
            f"but got {list(first.shape)}, {list(second.shape)} and {list(labels.shape)}"
        )
    check_folds(labels, n_folds)
    for name, embeddings in (("a", first), ("b", second)):
        check_finite(embeddings, name)
    if compare is None:
        first, second = l2_normalise(first), l2_normalise(second)
        distances, scores = squared_distances(first, second), np.einsum("pd,pd->p", first, second)
    else:
        scores = _similarities(compare, first, second)
        distances = 2 - 2 * scores
    folds = fold_accuracy(distances, labels, n_folds)
    roc = roc_curve(scores, labels)
    k = len(folds.accuracies)
    return VerificationResult(
        accuracy=float(folds.accuracies.mean()),
        accuracy_std=float(folds.accuracies.std()),
        accuracy_stderr=float(folds.accuracies.std(ddof=1) / np.sqrt(k)) if k > 1 else float("nan"),
        threshold=float(folds.thresholds.mean()),
        eer=roc.eer,
        auc=roc.auc,
        val=val_at_far(distances, labels, n_folds=n_folds),
        operating_points=far_operating_points(roc, FARS),
        folds=folds,
        scores=scores,
        same=labels,
        roc=roc,
    )


def l2_normalise(embeddings: Array) -> Array:
    """Scale the rows of ``embeddings`` [N, D] to length 1; a row of zeros stays zero."""
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    return embeddings / np.where(norms == 0, 1, norms)[:, None]


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distance [P] of the rows of ``a`` and ``b`` [P, D]."""
    # Not 2 - 2ab: near-equal pairs would lose digits and change bins.
    difference = a - b
    np.square(difference, out=difference)
    return difference.sum(axis=1)


def _similarities(compare: Compare, first: Array, second: Array) -> Array:
    scores = _float64(compare(torch.from_numpy(first), torch.from_numpy(second)))
    if scores.shape != first.shape[:1] or not (np.abs(scores) <= 1 + 1e-6).all():
        raise UserError(
            f"compare: expected {len(first)} similarities in [-1, 1], found an array of shape {list(scores.shape)}"
            + (f" from {scores.min():.3g} to {scores.max():.3g}" if scores.size else "")
        )
    return scores.clip(-1, 1)


def _float64(array: ArrayLike | torch.Tensor) -> Array:
    if isinstance(array, torch.Tensor):
        return array.detach().to("cpu", torch.float64).numpy()
    return np.asarray(array, dtype=np.float64)
