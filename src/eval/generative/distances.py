"""How far the distributions of real and of generated images are from each other, in a space of features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from src.eval.generative.features import check_features

__all__ = ["frechet_distance", "kernel_distance"]


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Fréchet distance of the normal distributions that fit the features, "FID" (Heusel et al. 2017, equation 6).

    ``|m - n|^2 + tr(S + T - 2 sqrt(S T))`` for means m, n and covariances S, T, which are divided by the number of
    images, not by one less, as in published values. Computed in float64.

    Args:
        real: Floating [N, D] features, two or more.
        generated: Floating [M, D], likewise.

    Returns:
        At least 0 up to rounding; 0 for the same features.

    Raises:
        UserError: See `check_features`.
    """
    first, second = (rows.double() for rows in check_features("fid", 2, real=real, generated=generated))
    means = first.mean(dim=0), second.mean(dim=0)
    # Of rows divided by the root of their number the covariance is R'R, R the triangular factor. The eigenvalues of
    # S T = R'R Q'Q are the squared singular values of R Q', which spares the root of a matrix that is not symmetric.
    factors = [
        torch.linalg.qr((rows - mean) / len(rows) ** 0.5, mode="r").R
        for rows, mean in zip((first, second), means, strict=True)
    ]
    traces = sum(factor.square().sum() for factor in factors)
    shared = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    return float((means[0] - means[1]).square().sum() + traces - 2 * shared)


def kernel_distance(
    real: Tensor, generated: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """Squared maximum mean discrepancy of the features, "KID" (Bińkowski et al. 2018, section 4).

    The kernel is ``(x'y / D + 1)^3``. The estimate has no bias, so that it may be below 0. Computed in float64.

    Args:
        real: Floating [N, D] features, two or more.
        generated: Floating [M, D], likewise.
        subsets: Number of random subsets to average over.
        subset_size: Images of each kind in a subset, or all where there are fewer.
        seed: Of the subsets.

    Raises:
        UserError: See `check_features`.
    """
    first, second = (rows.double() for rows in check_features("kid", 2, real=real, generated=generated))
    size = min(subset_size, len(first), len(second))
    random = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        chosen = torch.from_numpy(random.choice(len(second), size, replace=False))
        other = torch.from_numpy(random.choice(len(first), size, replace=False))
        values.append(poly_mmd(first[other.to(first.device)], second[chosen.to(second.device)]))
    return float(torch.stack(values).mean())
