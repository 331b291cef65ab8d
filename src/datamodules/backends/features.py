"""Embeddings instead of images, computed before training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from src.datamodules.face_dataset import Face, FaceDataset
from src.datamodules.sample import Sample
from src.errors import UserError

__all__ = ["FeatureBackend"]


class FeatureBackend:
    """Serves rows of a table; the samples hold both views as `feature`, float32 [B, 2, D].

    Args:
        dataset: Which the table belongs to; of its fields, `label` and `attribute` are served too.
        features: float32 [N, 2, D], of every image and its mirror image; NaN where the image cannot be read.

    Raises:
        UserError: The dataset has another number of images.
    """

    def __init__(self, dataset: FaceDataset, features: Tensor) -> None:
        if features.ndim != 3 or features.shape[:2] != (len(dataset), 2):
            raise UserError(
                f"{dataset.name}: expected embeddings [{len(dataset)}, 2, D], found {list(features.shape)}; "
                "make them again from these images"
            )
        self.dataset = dataset
        self.features = features

    def read(self, batches: Iterator[np.ndarray]) -> Iterator[Sample]:
        """See `Backend.read`; what the table lacks is left out and noted in `FaceDataset.unreadable`."""
        for rows in batches:
            features = self.features[torch.from_numpy(rows)]
            present = features.isfinite().all(dim=(1, 2))
            for row in rows[~present.numpy()].tolist():
                self.dataset.unreadable.setdefault(row, "it has no embedding")
            sample = self.dataset.assemble([Face(row, None, None) for row in rows[present.numpy()].tolist()], {})
            if sample:
                sample["feature"] = features[present]
            yield sample

    def close(self) -> None:
        """See `Backend.close`; there is no thread."""
