"""The gender-angular method on embeddings that are at hand, beside the methods that it is compared with."""

from __future__ import annotations

from collections.abc import Callable

import lightning as L
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.losses.gender_angular import GenderAngularLoss
from src.models.gender_angular import GenderAngular
from src.models.suppression.learned import LearnedSuppressor

__all__ = ["Angular"]


class Angular(LearnedSuppressor):
    """Trains the privacy layer of a `GenderAngular`, without mirror images.

    Args:
        layer: As of `GenderAngular`, like the next four.
        loss: Of templates.
        optimizer: Of layer and class centres.
        head_lr: Learning rate of the class centres.
        scheduler: Of the learning rates; None keeps them.
        epochs: Passes over the embeddings.
        batch_size: Embeddings per step.
        gradient_clip: Largest norm of the layer's gradient; None: any.
        seed: Of the initial weights and the order of the embeddings.
    """

    def __init__(
        self,
        layer: Callable[..., nn.Module],
        loss: Callable[..., GenderAngularLoss],
        optimizer: Callable[..., Optimizer],
        head_lr: float = 0.01,
        scheduler: Callable[..., LRScheduler] | None = None,
        epochs: int = 100,
        batch_size: int = 128,
        gradient_clip: float | None = 5.0,
        seed: int = 0,
    ) -> None:
        super().__init__(epochs, batch_size, seed)
        self.gradient_clip = gradient_clip
        self._layer = layer
        self._loss = loss
        self._optimizer = optimizer
        self._head_lr = head_lr
        self._scheduler = scheduler

    def build(self, embedding_size: int, num_classes: int) -> tuple[L.LightningModule, nn.Module]:
        """See `LearnedSuppressor.build`."""
        module = GenderAngular(
            _Embedded(embedding_size),
            self._layer,
            self._loss,
            self._optimizer,
            head_lr=self._head_lr,
            scheduler=self._scheduler,
        )
        return module, module.layer


class _Embedded(nn.Module):
    """Stands for the network that computed the embeddings."""

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.embedding_size = embedding_size

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding
