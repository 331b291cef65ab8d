"""Whom a recogniser sees in anonymised, recovered and wrongly recovered faces."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from src.eval.anonymization.pairs import FacePairs
from src.eval.generative.distances import frechet_distance
from src.eval.identification import closed_set
from src.eval.operating_points import far_operating_points
from src.eval.verification import VerificationResult, verify

__all__ = [
    "ACCURACY",
    "FMR",
    "KINDS",
    "distribution_metrics",
    "diversity",
    "reidentification",
    "similarity",
    "success",
    "thresholds_of",
    "verification",
]

KINDS = ("anon", "rec", "wrong")
"""Anonymised, recovered and wrongly recovered faces."""

FMR, ACCURACY = "1e-3", "accuracy"
"""Thresholds: false match rate of 0.001 on clean pairs, and that of the accuracy by folds."""

_RANKS = (1, 5)


def similarity(first: Tensor, second: Tensor) -> Tensor:
    """Cosines float64 [N] of the rows of two tensors [N, D]."""
    return torch.nn.functional.cosine_similarity(first.double(), second.double(), dim=1)


def verification(
    pairs: FacePairs, originals: Mapping[int, Tensor], changed: Mapping[int, Tensor]
) -> VerificationResult:
    """Verify pairs whose second images were changed.

    Args:
        pairs: The pairs.
        originals: Embedding [D] of every image by its number.
        changed: Of the images that take the place of the second ones.
    """
    first = torch.stack([originals[int(number)] for number in pairs.first])
    second = torch.stack([changed[int(number)] for number in pairs.second])
    return verify(first, second, pairs.same, pairs.folds)


def thresholds_of(clean: VerificationResult) -> dict[str, float]:
    """Cosines from which on two faces are taken for one person, by `FMR` and `ACCURACY`.

    Args:
        clean: Of pairs of untouched images; with less than 1,000 pairs of different people the first one is NaN.
    """
    point = far_operating_points(clean.roc, (1e-3,))[0].threshold_strict
    return {FMR: math.nan if math.isnan(point) else float(np.nextafter(point, 2.0)), ACCURACY: 1 - clean.threshold / 2}


def success(name: str, scores: Tensor, thresholds: Mapping[str, float], *, recognised: bool) -> dict[str, float]:
    """Share of faces that are, or are not, recognised at each threshold, by ``name@threshold``.

    Args:
        name: Of the metric.
        scores: Cosines [N] to the person they should or should not be.
        thresholds: Of `thresholds_of`.
        recognised: Count those from the threshold on, or those below it.
    """
    known = {key: float((scores >= value).double().mean()) for key, value in thresholds.items()}
    return {
        f"{name}@{key}": math.nan if math.isnan(thresholds[key]) else share if recognised else 1 - share
        for key, share in known.items()
    }


def reidentification(
    pairs: FacePairs, originals: Mapping[int, Tensor], changed: Mapping[int, Tensor]
) -> dict[str, float]:
    """Search changed faces of people in a gallery of clean ones, one for each person.

    Args:
        pairs: Tells who is who.
        originals: Embedding [D] of every image by its number.
        changed: Of changed images.

    Returns:
        ``rank1``, ``rank5``, and ``chance``, rank 1 of who guesses; NaN where nobody has several images.
    """
    gallery = pairs.gallery
    people = pairs.identity[gallery]
    probes = [number for number in changed if number not in gallery and pairs.identity[number] in people]
    if not probes:
        return {"rank1": math.nan, "rank5": math.nan, "chance": math.nan}
    enrolled = torch.nn.functional.normalize(torch.stack([originals[int(n)] for n in gallery]).double())
    searched = torch.nn.functional.normalize(torch.stack([changed[number] for number in probes]).double())
    ranks = closed_set((searched @ enrolled.T).numpy(), pairs.identity[probes], people).ranks
    return {**{f"rank{rank}": float((ranks <= rank).mean()) for rank in _RANKS}, "chance": 1 / len(gallery)}


def diversity(embeddings: Tensor) -> float:
    """Mean of 1 - cosine over all pairs of faces that one image becomes under K passwords.

    Args:
        embeddings: [K, N, D], K at least 2.
    """
    unit = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    count = len(unit)
    # The sum over all ordered pairs is the squared length of the sum, of which K pairs are of a face with itself.
    together = unit.sum(0).square().sum(-1)
    return float((1 - (together - count) / (count * (count - 1))).mean())


def distribution_metrics(name: str, originals: Tensor, changed: Mapping[str, Tensor]) -> dict[str, float]:
    """Fréchet distances of the embeddings of changed faces from those of the originals.

    Args:
        name: Of the network that made the embeddings.
        originals: [N, D].
        changed: By kind [N, D].
    """
    return {
        f"fid_like_{kind}@{name}": frechet_distance(originals, changed[kind])
        for kind in ("anon", "wrong")
        if len(originals) > 1
    }
