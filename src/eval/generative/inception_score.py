"""How surely, and how variedly, generated images show classes (Salimans et al. 2016)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.special import entr

from src.eval.generative.features import check_features

__all__ = ["InceptionScore", "inception_score"]


class InceptionScore(NamedTuple):
    """Mean and population standard deviation over the splits."""

    mean: float
    std: float


def inception_score(logits: Tensor, splits: int = 10) -> InceptionScore:
    """Inception score: the exponential of the mean divergence of a class distribution from that of its split.

    The splits are contiguous, in the order of the images.

    Args:
        logits: Floating [N, C] of the generated images, ``splits`` or more.
        splits: Number of splits.

    Returns:
        Between 1, all images alike or undecided, and C.

    Raises:
        UserError: See `check_features`.
    """
    (rows,) = check_features("inception_score", splits, generated=logits)
    values = torch.stack([_score(part) for part in rows.double().softmax(dim=1).tensor_split(splits)])
    return InceptionScore(float(values.mean()), float(values.std(correction=0)))


def _score(probabilities: Tensor) -> Tensor:
    # The mean divergence from the mean is the entropy of the mean less the mean entropy; entr takes 0 log 0 as 0.
    entropy = entr(probabilities.mean(dim=0)).sum() - entr(probabilities).sum(dim=1).mean()
    return entropy.exp()
