"""The embedded procedural faces as a collection with identity features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from src.datamodules.identity_features import feature_name, read_identity_features
from src.datamodules.procfaces.dataset import build
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.parts import TRAIN
from src.datamodules.sources.shard_source import ShardSource
from src.datamodules.sources.source import FaceSource
from src.datamodules.sources.view import WithFeatures
from src.datamodules.storage import Location

__all__ = ["RANDOM", "procedural_faces", "random_identity_features"]

RANDOM = "random"
"""In place of a file of features: `random_identity_features`."""


def procedural_faces(
    root: Path | str, faces: FacesConfig, *, features: Path | str | None = None, feature_size: int = 512
) -> FaceSource:
    """Open the training images of a procedural data set, which are rendered on first use.

    Args:
        root: Folder of the data set.
        faces: What it holds.
        features: File of identity features, see `identity_features.read_identity_features`; or ``"random"``: one
            direction per person that has nothing to do with the face, to try out a training; None: no features.
        feature_size: Length of the random ones.
    """
    source = ShardSource(build(root, faces) / TRAIN)
    if features is None:
        return source
    if features == RANDOM:
        vectors = random_identity_features(len(source.classes), feature_size, faces.seed)[source.labels]
    else:
        names = [feature_name(source.key(row)) for row in range(len(source))]
        vectors = read_identity_features(Location(features), names)
    return WithFeatures(source, {"file": str(features)}, vectors)


def random_identity_features(identities: int, size: int, seed: int) -> np.ndarray:
    """Draw a direction for each identity, uniformly.

    Args:
        identities: Their number C.
        size: Length D of a vector.
        seed: Of the directions.

    Returns:
        float32 [C, D], of unit length.
    """
    vectors = torch.randn(identities, size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=1).numpy()
