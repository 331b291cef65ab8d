"""Templates in the plane, as a gender attacker sees them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.eval.gender import AttackResult
from src.eval.score import Projection

__all__ = ["project"]

_SHOWN = 1000
_DECIMALS = 3


def project(templates: Tensor, result: AttackResult) -> Projection | None:
    """Held-out decision of the linear attacker and first principal component of at most 1,000 templates.

    Args:
        templates: float [N, D] of all faces, unit length.
        result: Of an attack on them.

    Returns:
        The points, evenly taken from all that were attacked; None if the logistic regression is not among the
        attackers.
    """
    if result.decision is None:
        return None
    spread = result.decision.std()
    shown = np.arange(0, len(result.faces), -(-len(result.faces) // _SHOWN))
    return Projection(
        decision=_rounded(result.decision[shown] / (spread if spread > 0 else 1)),
        component=_rounded(_first_component(templates[torch.from_numpy(result.faces)])[shown]),
        attribute=result.attributes[shown].tolist(),
    )


def _first_component(templates: Tensor) -> NDArray[np.float64]:
    centred = (templates - templates.mean(dim=0)).double()
    axis = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    # Either sign is right; the same templates are to give the same picture.
    axis = axis * axis[axis.abs().argmax()].sign()
    return (centred @ axis).numpy()


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return values.round(_DECIMALS).tolist()
