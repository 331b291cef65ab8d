"""PFRNet: an autoencoder that puts gender into a part of the code that is thrown away."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional

from src.errors import UserError
from src.models.suppression.learned import LearnedSuppressor

__all__ = ["PfrNet", "PfrNetModule", "moment_losses"]


class PfrNet(LearnedSuppressor):
    """Privacy-enhancing face recognition network (Bortolato et al. 2020).

    Of embeddings of D values the template is the gender-independent code of D - D / 32, the rest is thrown away.

    Args:
        similarity_weight: Of the difference of the moments of the independent code between the genders.
        difference_weight: Of the likeness of the moments of the dependent code.
        lr: Learning rate of Adam.
        epochs: Passes.
        batch_size: Embeddings per step.
        seed: Of the initial weights and the order.
    """

    def __init__(
        self,
        similarity_weight: float = 0.01,
        difference_weight: float = 0.01,
        lr: float = 1e-4,
        epochs: int = 130,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(epochs, batch_size, seed)
        self.similarity_weight = similarity_weight
        self.difference_weight = difference_weight
        self.lr = lr

    def check(self, count: int, size: int) -> None:
        """See `Suppressor.check`."""
        super().check(count, size)
        if size < 32:
            raise UserError(f"PfrNet: expected embeddings of at least 32 values, found {size}")

    def build(self, embedding_size: int, num_classes: int) -> tuple[L.LightningModule, nn.Module]:
        """See `LearnedSuppressor.build`."""
        module = PfrNetModule(embedding_size, self.similarity_weight, self.difference_weight, self.lr)
        return module, module.encoder


class PfrNetModule(L.LightningModule):
    """Two encoders and a decoder of four layers each.

    Args:
        size: Length D of an embedding; 512 in the paper, with layers of 512, 512, 512, 496 values, of
            256, 128, 64, 16, and of 512. Layers keep these proportions to D.
        similarity_weight: See `PfrNet`.
        difference_weight: See `PfrNet`.
        lr: Learning rate.
    """

    def __init__(self, size: int, similarity_weight: float, difference_weight: float, lr: float) -> None:
        super().__init__()
        dependent = size // 32
        self.encoder = _layers(size, size, size, size, size - dependent)
        self.dependent_encoder = _layers(size, size // 2, size // 4, size // 8, dependent)
        self.decoder = _layers(size, size, size, size, size)
        self._weights = (similarity_weight, difference_weight)
        self._lr = lr

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Reconstruction error and both losses of the moments."""
        embedding, attribute = batch["feature"], batch["attribute"]
        independent, dependent = self.encoder(embedding), self.dependent_encoder(embedding)
        decoded = self.decoder(torch.cat([independent, dependent], dim=1))
        similarity, difference = moment_losses(independent, dependent, attribute)
        return functional.mse_loss(decoded, embedding) + self._weights[0] * similarity + self._weights[1] * difference

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self._lr, betas=(0.5, 0.999))


def moment_losses(independent: Tensor, dependent: Tensor, attribute: Tensor) -> tuple[Tensor, Tensor]:
    """How far the genders' first two raw moments differ in one code and agree in the other.

    Args:
        independent: Float [B, I].
        dependent: Float [B, J].
        attribute: int64 [B], 0 or 1; with only one of them both losses are 0.

    Returns:
        ``sum_k ||m_k(F) - m_k(M)||^2 / I`` of the independent code and ``sum_k mean_j exp(-(m_k(F)_j - m_k(M)_j)^2)``
        of the dependent one, with m_k the mean of the k-th powers, k = 1, 2.
    """
    female, male = attribute == 0, attribute == 1
    if not (female.any() and male.any()):
        return independent.new_zeros(()), independent.new_zeros(())
    similarity = difference = independent.new_zeros(())
    for power in (1, 2):
        gap = (independent[female] ** power).mean(0) - (independent[male] ** power).mean(0)
        similarity = similarity + gap.square().mean()
        gap = (dependent[female] ** power).mean(0) - (dependent[male] ** power).mean(0)
        difference = difference + (-gap.square()).exp().mean()
    return similarity, difference


def _layers(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them, weights uniform in +-sqrt(3 / inputs), biases 0."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        nn.init.uniform_(layer.weight, -math.sqrt(3 / inputs), math.sqrt(3 / inputs))
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
