"""LEACE: the least change of the embeddings that takes a concept out of reach of linear models."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from src.errors import check_choice
from src.models.suppression.suppressor import Suppressor

__all__ = ["Leace", "Variant", "shrunk_covariance"]

Variant = Literal["whitened", "orth"]
_MIN_COVARIANCE = 0.01
"""Directions with less whitened cross-covariance with gender than this are left alone."""


class Leace(Suppressor):
    """The smallest affine edit after which no linear model can tell gender (Belrose et al. 2023, theorem 4.3).

    ``t = e - W^+ U U^T W (e - mean)``: W whitens the embeddings, U spans their whitened cross-covariance with gender.
    Of one binary attribute the edit has rank one.

    Args:
        variant: ``"whitened"`` as above, or ``"orth"``: an orthogonal projection, W the identity.
        shrinkage: Estimate the covariance by linear shrinkage to a multiple of the identity, for few embeddings.

    Attributes:
        center: float64 [D].
        edit: ``W^+ U U^T W``, float64 [D, D].
    """

    center: Tensor
    edit: Tensor

    def __init__(self, variant: Variant = "whitened", shrinkage: bool = False) -> None:
        check_choice("Leace: variant", variant, get_args(Variant))
        self.variant = variant
        self.shrinkage = shrinkage

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`."""
        embeddings = embeddings.double()
        self.center = embeddings.mean(0)
        centered, gender = embeddings - self.center, attributes.double() - attributes.double().mean()
        covariance = centered.T @ centered / len(centered)
        with_gender = (centered.T @ gender / len(centered))[:, None]
        whitening = unwhitening = torch.eye(len(covariance), dtype=torch.float64)
        if self.variant == "whitened":
            whitening, unwhitening = _whitening(
                shrunk_covariance(covariance, len(centered)) if self.shrinkage else covariance
            )
        directions, strengths, _ = torch.linalg.svd(whitening @ with_gender, full_matrices=False)
        directions = directions[:, strengths > _MIN_COVARIANCE]
        orthogonal = directions @ directions.T
        self.edit = _bound_variance(unwhitening @ orthogonal @ whitening, orthogonal, covariance)
        rank = int(torch.linalg.matrix_rank(self.edit))
        self.parameters = embeddings.shape[1] * (1 + 2 * rank)

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`; float64 stays float64."""
        return embeddings - (embeddings - self.center.to(embeddings)) @ self.edit.T.to(embeddings)


def shrunk_covariance(covariance: Tensor, count: int) -> Tensor:
    """Optimal linear shrinkage to a multiple of the identity (Bodnar et al. 2014).

    Args:
        covariance: float64 [D, D], S below.
        count: Number n of samples that it was estimated from.

    Returns:
        ``a S + (1 - a) (tr S / D) I`` with ``a = 1 - (tr S)^2 t / n / (||S||_F^2 t - t^2)``, ``t = (tr S)^2 / D``,
        limited to [0, 1]: with few samples the formula is negative.
    """
    size, trace = len(covariance), covariance.trace()
    target = trace.square() / size
    spread = covariance.square().sum() * target - target.square()
    weight = (1 - trace.square() * target / count / spread).clamp(0, 1)
    return weight * covariance + (1 - weight) * trace / size * torch.eye(size, dtype=covariance.dtype)


def _whitening(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse square root and square root [D, D] of a covariance, on the space where it is not zero."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values.max() * len(covariance) * torch.finfo(values.dtype).eps
    vectors, roots = vectors[:, kept], values[kept].sqrt()
    return vectors / roots @ vectors.T, vectors * roots @ vectors.T


def _bound_variance(edit: Tensor, orthogonal: Tensor, covariance: Tensor) -> Tensor:
    """Mix an edit with an orthogonal one so that the total variance after it is not larger than before.

    Only a shrunk covariance lets an edit raise the variance. What the mixture removes no longer is all that a linear
    model can use.

    Args:
        edit: float64 [D, D], what is taken away.
        orthogonal: The same of an orthogonal projection.
        covariance: Of the embeddings.
    """
    identity = torch.eye(len(edit), dtype=edit.dtype)
    oblique, projection = identity - edit, identity - orthogonal
    step = oblique - projection
    # tr (Q + m (P - Q)) S (Q + m (P - Q))^T = tr S is quadratic in the share m of P; its constant is not positive.
    square = (step @ covariance @ step.T).trace()
    linear = 2 * (projection @ covariance @ step.T).trace()
    constant = (projection @ covariance @ projection.T).trace() - covariance.trace()
    if square + linear + constant <= 0:
        return edit
    share = (-linear + (linear.square() - 4 * square * constant).sqrt()) / (2 * square)
    return share * edit + (1 - share) * orthogonal
