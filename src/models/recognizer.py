"""The plain face recogniser: a backbone trained with a margin head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.datamodules.sample import Sample
from src.losses.heads import MarginHead
from src.models.embedding_module import EmbeddingModule
from src.models.optimization import parameter_groups, schedule

__all__ = ["FaceRecognizer"]


class FaceRecognizer(EmbeddingModule):
    """Identity classification with a margin, e.g. ArcFace (Deng et al. 2019).

    The head is created when training starts, because only then the number of identities is known; a recogniser
    that only embeds has none.

    Args:
        backbone: Embedding network, see `EmbeddingModule`.
        head: Called with ``embedding_size`` and ``num_classes``; yields the margin head.
        optimizer: Called with the parameter groups.
        scheduler: Called with the optimiser, ``total_steps`` (optimiser steps of the whole run) and ``epoch_steps``
            (optimiser steps of one epoch); its ``step`` is called after each optimiser step.
        decay_norm_and_bias: Apply weight decay to normalisation layers and biases too, as arcface_torch does.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: Callable[..., MarginHead],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        decay_norm_and_bias: bool = True,
    ) -> None:
        super().__init__(backbone)
        with torch.device("meta"):  # a wrong argument of the head shows here, not when training starts
            head(embedding_size=1, num_classes=2)
        self.head: MarginHead | None = None
        self._make_head = head
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._decay_norm_and_bias = decay_norm_and_bias

    def configure_model(self) -> None:
        """Create the head for the identities of the training data."""
        if self.head is None and self.trainer.training:
            num_classes = self.trainer.datamodule.num_classes  # type: ignore[attr-defined]
            self.head = self._make_head(embedding_size=self.backbone.embedding_size, num_classes=num_classes)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Margin loss of one batch."""
        assert self.head is not None
        embedding = self(batch["image"])
        output = self.head(embedding, batch["label"])
        size = len(batch["label"])
        self.log("train/loss", output.loss, prog_bar=True, batch_size=size)
        self.log("train/target_cosine", output.target_cosine, batch_size=size)
        self.log("train/embedding_norm", embedding.detach().float().norm(dim=1).mean(), batch_size=size)
        return output.loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the gradient norm before clipping."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        self.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients))

    def configure_optimizers(self) -> Any:
        """One optimiser over backbone and head, and a schedule stepped after each of its steps."""
        optimizer = self._make_optimizer(parameter_groups(self, decay_norm_and_bias=self._decay_norm_and_bias))
        return schedule(optimizer, self._make_scheduler, self.trainer)
