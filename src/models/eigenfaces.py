"""Eigenfaces as a method: one pass over the training images instead of gradient steps."""

from __future__ import annotations

from typing import cast

import numpy as np

from src.datamodules.sample import Sample
from src.models.embedding_module import EmbeddingModule
from src.models.networks.whitened_pca import WhitenedPCA

__all__ = ["Eigenfaces"]


class Eigenfaces(EmbeddingModule):
    """Fits a `WhitenedPCA` to the images of one epoch (Turk and Pentland 1991).

    Args:
        backbone: The principal components to fit.
        max_images: Images kept for the fit, the first of the shuffled epoch; bounds the memory to
            ``12 * max_images * size**2`` bytes.
    """

    def __init__(self, backbone: WhitenedPCA, max_images: int = 4000) -> None:
        super().__init__(backbone)
        self.automatic_optimization = False
        self._max_images = max_images
        self._images: list[np.ndarray] = []

    def training_step(self, batch: Sample, batch_idx: int) -> None:
        """Collect the images of one batch."""
        if sum(map(len, self._images)) < self._max_images:
            self._images.append(batch["image"].float().cpu().numpy())

    def on_train_epoch_end(self) -> None:
        """Fit the components to what was collected."""
        cast(WhitenedPCA, self.backbone).fit(np.concatenate(self._images)[: self._max_images])
        self._images = []

    def configure_optimizers(self) -> None:
        """There is nothing to optimise."""
