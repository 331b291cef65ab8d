"""At which scores a system accepts: what attackers have to reach."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.eval.operating_points import RocCurve, far_operating_points
from src.eval.protection.faces import ImagePairs
from src.eval.protection.scores import match

__all__ = ["FAR", "OperatingScores", "operating_scores"]

Array = NDArray[np.float64]

FAR = 1e-3
"""False accept rate at which a system is run."""


@dataclass(frozen=True)
class OperatingScores:
    """Scores of codes of one system, and from which on it accepts.

    Attributes:
        genuine: float64 [P] shares of equal symbols of codes of one person.
        impostor: float64 [N] the same of different people.
        eer: Threshold of equal error rates.
        far: Threshold that a false accept rate of `FAR` sets; NaN where there are too few scores to tell.
        false_accepts: Share of the impostors that reach it; NaN likewise.
        false_accepts_eer: Share of the impostors that reach ``eer``.
    """

    genuine: Array
    impostor: Array
    eer: float
    far: float
    false_accepts: float
    false_accepts_eer: float


def operating_scores(codes: NDArray[np.uint8], mated: ImagePairs, non_mated: ImagePairs) -> OperatingScores:
    """Compare codes of one system, whose keys are the same or cancel out.

    Args:
        codes: uint8 [N, m].
        mated: Images of one person.
        non_mated: Images of different people.
    """
    genuine, impostor = (match(codes[pairs.first], codes[pairs.second]) for pairs in (mated, non_mated))
    curve = RocCurve(np.sort(genuine), np.sort(impostor))
    corner = int(np.abs(curve.fpr + curve.tpr - 1).argmin())
    eer = float(np.clip(curve.corners[0][corner], 0, 1))
    (point,) = far_operating_points(curve, (FAR,))
    # Scores are whole numbers of symbols: strictly above one is from the next on.
    far = math.nan if math.isnan(point.threshold_strict) else point.threshold_strict + 1 / codes.shape[1]
    shares = [float((impostor >= threshold - 1e-9).mean()) for threshold in (far, eer)]
    return OperatingScores(genuine, impostor, eer, far, math.nan if math.isnan(far) else shares[0], shares[1])
