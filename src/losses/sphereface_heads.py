"""SphereFace heads: the angle is multiplied."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import check_choice
from src.losses import margins
from src.losses.heads import MarginHead

__all__ = ["SphereFaceHead", "SphereFaceRHead"]


class SphereFaceHead(MarginHead):
    """Multiplicative angular margin on embeddings that keep their norm (Liu et al. 2017, "SphereFace", eq. 7).

    The norm of the embedding stands in place of the scale. The margin is blended in during training: in step i the
    plain cosine has weight ``max(annealing_minimum, annealing_start / (1 + annealing_rate * i))`` against 1.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: Factor on the target's angle.
        annealing_start: Weight of the plain cosine before training.
        annealing_rate: How fast that weight falls per step.
        annealing_minimum: Its least value.
        filter_threshold: As of `MarginHead`.
    """

    iteration: Tensor

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float = 4.0,
        annealing_start: float = 1500.0,
        annealing_rate: float = 0.1,
        annealing_minimum: float = 5.0,
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale=1.0, filter_threshold=filter_threshold)
        self.margin = margin
        self.annealing_start = annealing_start
        self.annealing_rate = annealing_rate
        self.annealing_minimum = annealing_minimum
        self.register_buffer("iteration", torch.tensor(0))

    @property
    def annealing(self) -> Tensor:
        """Present weight of the plain cosine, a scalar."""
        falling = self.annealing_start / (1 + self.annealing_rate * self.iteration)
        return falling.clamp(min=self.annealing_minimum)

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Multiply the target's angle; every call in training advances the annealing."""
        if self.training:
            self.iteration += 1
        return margins.sphereface(cosine, target, self.margin, self.annealing)

    def loss(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Cross entropy with the embedding's norm as scale."""
        return F.cross_entropy(norm[:, None] * self.apply_margin(cosine, target, norm), target)


class SphereFaceRHead(MarginHead):
    """SphereFace-R with hard feature normalisation (Liu et al. 2022, "SphereFace Revived").

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: Factor on the target's angle.
        version: ``"v0"`` or ``"v1"``, see `margins.sphereface_r`.
        scale: Factor s from cosines to logits.
        loss_weight: The cross entropy is multiplied by this over ``scale``.
        filter_threshold: As of `MarginHead`.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float = 1.5,
        version: Literal["v0", "v1"] = "v1",
        scale: float = 30.0,
        loss_weight: float = 50.0,
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale, filter_threshold)
        self.margin = margin
        check_choice("version", version, ("v0", "v1"))
        self.version = version
        self.loss_weight = loss_weight

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Multiply the target's angle."""
        return margins.sphereface_r(cosine, target, self.margin, self.version)

    def loss(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Weighted cross entropy."""
        return self.loss_weight / self.scale * super().loss(cosine, target, norm)
