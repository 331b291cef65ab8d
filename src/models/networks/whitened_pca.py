"""Principal components of the pixels as a face embedding."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from src.errors import UserError
from src.models.networks.backbone import Backbone

__all__ = ["WhitenedPCA"]


class WhitenedPCA(Backbone):
    """Eigenfaces (Turk and Pentland 1991) with whitened coefficients: the baseline that needs no network.

    Before `fit` the embedding is the zero vector.

    Args:
        embedding_size: Number of principal components D; the first D of those that the images have.
        size: Height and width of the images in pixels.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, embedding_size: int = 128, size: int = 64) -> None:
        super().__init__(embedding_size, size)
        self.register_buffer("mean", torch.zeros(3 * size * size))
        self.register_buffer("components", torch.zeros(embedding_size, 3 * size * size))

    def fit(self, images: np.ndarray, seed: int = 0) -> None:
        """Compute mean and components.

        Args:
            images: float32 [N, 3, S, S] in [-1, 1], N of at least ``embedding_size``.
            seed: Of the randomised decomposition.

        Raises:
            UserError: There are fewer images than components.
        """
        if len(images) < self.embedding_size:
            raise UserError(
                f"{self.embedding_size} principal components need as many images; found {len(images)}. "
                "Lower model.backbone.embedding_size."
            )
        pca = PCA(self.embedding_size, whiten=True, svd_solver="randomized", random_state=seed)
        pca.fit(images.reshape(len(images), -1))
        scaled = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.components.copy_(torch.from_numpy(scaled))

    def embed(self, images: Tensor) -> Tensor:
        """Whitened coefficients [B, D]."""
        with torch.autocast(images.device.type, enabled=False):
            return (images.float().flatten(1) - self.mean) @ self.components.T
