"""Face verification: are two faces of the same person? Accuracy by k-fold, ROC, EER and AUC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from src.errors import UserError
from src.eval.collector import check_finite
from src.eval.embedding_matching import CosineMatcher
from src.eval.kfold import FoldResult, ValResult, check_folds, fold_accuracy, val_at_far
from src.eval.matching import Matcher
from src.eval.operating_points import OperatingPoint, RocCurve, far_operating_points, roc_curve

__all__ = ["FARS", "VerificationResult", "verify"]

Array = NDArray[np.float64]

FARS = (1e-3, 1e-2, 1e-1)
"""False accept rates that a set of 6,000 pairs can resolve."""


@dataclass(frozen=True)
class VerificationResult:
    """What `verify` measures. Rates are fractions of 1, thresholds are distances in 0..4, squared ones of embeddings.

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
    matcher: Matcher | None = None,
) -> VerificationResult:
    """Judge pairs of templates.

    Args:
        a: [P, D] templates of the first face of every pair; embeddings are of any scale: they are L2-normalised in
            float64.
        b: [P, D] templates of the second face.
        same: bool [P], true for a genuine pair. The order of the pairs defines the folds.
        n_folds: Number of contiguous folds; 1 means that the threshold is chosen on the pairs it is judged on.
        matcher: Gives the similarities of the pairs; by default their cosine. Of a similarity s the distance is 2 - 2s,
            as it is of unit vectors.

    Returns:
        Accuracy, threshold, error rates, scores and their ROC curve.

    Raises:
        UserError: Shapes disagree, an embedding is not finite, or a fold lacks genuine or impostor pairs.
    """
    matcher = matcher or CosineMatcher()
    first, second = _tensor(a), _tensor(b)
    labels = _tensor(same).numpy().astype(bool)
    if first.ndim != 2 or first.shape != second.shape or labels.shape != first.shape[:1]:
        raise UserError(
            "verify expects a [P, D], b [P, D] and same [P], "
            f"but got {list(first.shape)}, {list(second.shape)} and {list(labels.shape)}"
        )
    check_folds(labels, n_folds)
    for name, templates in (("a", first), ("b", second)):
        check_finite(templates.numpy(), name)
    scores = matcher.pairs(first, second)
    distances = matcher.distances(first, second, scores)
    folds = fold_accuracy(distances, labels, n_folds, matcher.thresholds)
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


def _tensor(array: ArrayLike | torch.Tensor) -> torch.Tensor:
    """On the CPU; floats in float64."""
    tensor = array.detach().cpu() if isinstance(array, torch.Tensor) else torch.from_numpy(np.asarray(array))
    return tensor.double() if tensor.is_floating_point() else tensor
