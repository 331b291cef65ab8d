"""Heads whose margin follows the sample's quality or the stage of training."""

from __future__ import annotations

from typing import get_args

import torch
import torch.distributed as dist
from torch import Tensor

from src.errors import check_choice
from src.losses import margins
from src.losses.heads import MarginHead
from src.losses.margins import Gradient

__all__ = ["AdaFaceHead", "CurricularFaceHead", "MagFaceHead"]


class AdaFaceHead(MarginHead):
    """Margin that follows the norm of the embedding (Kim et al. 2022, "AdaFace", section 3).

    Norms are standardised by running statistics over the batches of all processes, which are saved with the head.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: m of the paper.
        concentration: h of the paper, the factor on the standardised norm before it is clipped to [-1, 1].
        momentum: Share of the newest batch in the running statistics.
        scale: Factor s from cosines to logits.
        margin_gradient: ``"straight_through"`` as in CVLface, or ``"exact"`` as in the authors' code.
        filter_threshold: As of `MarginHead`.
    """

    norm_mean: Tensor
    norm_std: Tensor

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float = 0.4,
        concentration: float = 0.333,
        momentum: float = 0.01,
        scale: float = 64.0,
        margin_gradient: Gradient = "straight_through",
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale, filter_threshold)
        check_choice("margin_gradient", margin_gradient, get_args(Gradient))
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum
        self.margin_gradient = margin_gradient
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def quality(self, norm: Tensor) -> Tensor:
        """Image quality, float [B] in [-1, 1], from embedding norms [B]; in training updates the statistics."""
        norm = norm.detach().clamp(1e-3, 100.0)
        if self.training:
            mean, std = _global_mean_and_std(norm)
            self.norm_mean.lerp_(mean.to(self.norm_mean), self.momentum)
            self.norm_std.lerp_(std.to(self.norm_std), self.momentum)
        standardised = (norm - self.norm_mean) / (self.norm_std + 1e-3)
        return (self.concentration * standardised).clamp(-1, 1)

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Apply the margin that the norms call for."""
        return margins.adaface(cosine, target, self.quality(norm), self.margin, self.margin_gradient)


class CurricularFaceHead(MarginHead):
    """Margin that turns from easy to hard negatives (Huang et al. 2020, "CurricularFace").

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: In radians.
        momentum: Share of the newest batch in the running mean of the target's cosine.
        scale: Factor s from cosines to logits.
        filter_threshold: As of `MarginHead`.
    """

    stage: Tensor

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float = 0.5,
        momentum: float = 0.01,
        scale: float = 64.0,
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale, filter_threshold)
        self.margin = margin
        self.momentum = momentum
        self.register_buffer("stage", torch.tensor(0.0))

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Apply the margin; every call in training first updates the stage from all processes."""
        if self.training:
            mean, _ = _global_mean_and_std(margins.target_cosine(cosine.detach(), target))
            self.stage.lerp_(mean.to(self.stage), self.momentum)
        return margins.curricularface(cosine, target, self.stage.clone(), self.margin)


class MagFaceHead(MarginHead):
    """Margin that grows with the norm, and a pull on the norm (Meng et al. 2021, "MagFace").

    The margin is linear in the norm a, clamped to ``norm_range``, and differentiable in it.
    The loss gains ``norm_weight`` times the mean of ``a / upper^2 + 1 / a``.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin_range: Margin in radians at the lower and the upper end of ``norm_range``.
        norm_range: Lower and upper end of the norm.
        norm_weight: lambda_g of the paper.
        easy_margin: Leave the target alone beyond a right angle; otherwise continue linearly beyond pi - margin.
        scale: Factor s from cosines to logits.
        filter_threshold: As of `MarginHead`.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin_range: tuple[float, float] = (0.45, 0.8),
        norm_range: tuple[float, float] = (10.0, 110.0),
        norm_weight: float = 35.0,
        easy_margin: bool = True,
        scale: float = 64.0,
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale, filter_threshold)
        self.margin_range = margin_range
        self.norm_range = norm_range
        self.norm_weight = norm_weight
        self.easy_margin = easy_margin

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Add the margin that the norm calls for to the target's angle, differentiated exactly."""
        (low_margin, high_margin), (low, high) = self.margin_range, self.norm_range
        margin = low_margin + (high_margin - low_margin) * (norm.clamp(low, high) - low) / (high - low)
        guard: margins.Guard = "easy" if self.easy_margin else "linear"
        return margins.arcface(cosine, target, margin, gradient="exact", guard=guard)

    def norm_penalty(self, norm: Tensor) -> Tensor:
        """Regulariser of the norms [B] (g of the paper), a scalar, least at the upper end of ``norm_range``."""
        low, high = self.norm_range
        norm = norm.clamp(low, high)
        return (norm / high**2 + 1 / norm).mean()

    def loss(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Cross entropy plus the weighted regulariser."""
        return super().loss(cosine, target, norm) + self.norm_weight * self.norm_penalty(norm)


@torch.no_grad()
def _global_mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of values [B] over all processes; of one value the deviation is 0."""
    values = values.double()
    sums = torch.stack([values.new_full((), len(values)), values.sum(), values.square().sum()])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    count, total, squares = sums
    mean = total / count
    variance = (squares - count * mean.square()) / (count - 1).clamp(min=1)
    return mean, variance.clamp(min=0).sqrt()
