"""Methods whose templates are computed by a network that is trained on the embeddings."""

from __future__ import annotations

from abc import abstractmethod

import lightning as L
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from src.errors import UserError
from src.models.suppression.suppressor import Suppressor
from src.models.suppression.training import fit_on_features

__all__ = ["LearnedSuppressor"]


class LearnedSuppressor(Suppressor):
    """Trains a module on balanced batches, see `fit_on_features`.

    Attributes:
        encoder: From embeddings to templates; known after `fit`.

    Args:
        epochs: Passes over the embeddings.
        batch_size: Embeddings per step.
        seed: Of the initial weights and the order of the embeddings.

    Raises:
        UserError: A number is less than 1.
    """

    encoder: nn.Module
    gradient_clip: float | None = None
    """Largest norm of the gradient; None: any."""

    def __init__(self, epochs: int, batch_size: int, seed: int = 0) -> None:
        if epochs < 1 or batch_size < 1:
            raise UserError(f"{type(self).__name__}: expected numbers of at least 1; found {epochs=} and {batch_size=}")
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed

    def check(self, count: int, size: int) -> None:
        """See `Suppressor.check`."""
        if self.batch_size > count:
            name = type(self).__name__
            raise UserError(f"{name}: batch_size={self.batch_size}: there are {count} embeddings to learn from")

    @abstractmethod
    def build(self, embedding_size: int, num_classes: int) -> tuple[L.LightningModule, nn.Module]:
        """A new module, its weights drawn from the global random numbers.

        Args:
            embedding_size: D.
            num_classes: Number of identities C.

        Returns:
            What is trained on batches of `FeatureDataModule`, and the part of it that makes templates [N, D'] of
            embeddings [N, D].
        """

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`; the global random numbers go on afterwards as if nothing had been drawn."""
        with isolate_rng():
            torch.manual_seed(self.seed)
            module, self.encoder = self.build(embeddings.shape[1], int(labels.max()) + 1)
            fit_on_features(
                module,
                embeddings,
                labels,
                attributes,
                epochs=self.epochs,
                batch_size=self.batch_size,
                seed=self.seed,
                name=type(self).__name__,
                gradient_clip=self.gradient_clip,
                device=self.device,
            )
        self.parameters = sum(parameter.numel() for parameter in self.encoder.parameters())

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        with torch.no_grad():
            return self.encoder(embeddings)
