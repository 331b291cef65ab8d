"""Whether changed faces are still found as faces, and in their place."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from src.eval.anonymization.interfaces import Detector, as_bytes

__all__ = ["Found", "detection_rate", "find_faces", "landmark_distance"]


class Found(NamedTuple):
    """The most probable face on each of some images.

    Attributes:
        probability: Float32 [N], 0 where there is none.
        landmarks: Float32 [N, 5, 2] pixels, NaN where there is none.
    """

    probability: Tensor
    landmarks: Tensor


def find_faces(detector: Detector, images: Tensor) -> Found:
    """Find faces on images float [N, 3, H, W] in [-1, 1]."""
    best = [max(faces, key=lambda face: face.probability, default=None) for faces in detector(as_bytes(images))]
    nowhere = torch.full((5, 2), math.nan)
    return Found(
        torch.tensor([0.0 if face is None else face.probability for face in best]),
        torch.stack([nowhere if face is None else face.landmarks.float() for face in best]),
    )


def detection_rate(original: Found, changed: Found) -> float:
    """Faces found on changed images for each one that is found on the originals; NaN if there is none on those."""
    there = int((original.probability > 0).sum())
    return int((changed.probability > 0).sum()) / there if there else math.nan


def landmark_distance(original: Found, changed: Found) -> float:
    """Mean distance of the five points by that of the eyes, of faces that are found on both; NaN if there is none."""
    apart = (original.landmarks - changed.landmarks).norm(dim=-1).mean(-1)
    eyes = (original.landmarks[:, 0] - original.landmarks[:, 1]).norm(dim=-1)
    return float((apart / eyes).nanmean())
