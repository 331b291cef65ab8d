"""ElasticFace heads: margins drawn at random.

Boutros et al. 2022, "ElasticFace: Elastic Margin Loss for Deep Face Recognition".
"""

from __future__ import annotations

import torch
from torch import Tensor

from src.losses import margins
from src.losses.heads import MarginHead

__all__ = ["ElasticArcFaceHead", "ElasticCosFaceHead", "ElasticHead"]


class ElasticHead(MarginHead):
    """Margins drawn anew for every sample from a normal distribution.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: Mean of the margins, and every sample's margin outside training.
        sigma: Standard deviation of the margins.
        plus: ElasticFace+, which gives the harder samples the larger margins, see `margins.rank_margins`.
        compat_permutation: With ``plus``, arrange the margins as the authors' code does.
        scale: Factor s from cosines to logits.
        filter_threshold: As of `MarginHead`.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float,
        sigma: float,
        plus: bool = False,
        compat_permutation: bool = False,
        scale: float = 64.0,
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale, filter_threshold)
        self.margin = margin
        self.sigma = sigma
        self.plus = plus
        self.compat_permutation = compat_permutation

    def draw_margins(self, cosine: Tensor, target: Tensor) -> Tensor:
        """Draw the margins, float [B], for cosines float [B,C] and targets int64 [B]."""
        source = margins.target_cosine(cosine, target)
        if not self.training:
            return torch.full_like(source, self.margin)
        draws = torch.empty_like(source).normal_(self.margin, self.sigma)
        if self.plus:
            return margins.rank_margins(source, draws, compat_permutation=self.compat_permutation)
        return draws


class ElasticArcFaceHead(ElasticHead):
    """Random margin on the angle; the paper has margin 0.5 and sigma 0.05, with ``plus`` sigma 0.0175."""

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Add a random margin to the target's angle, differentiated exactly."""
        return margins.arcface(cosine, target, self.draw_margins(cosine, target), gradient="exact")


class ElasticCosFaceHead(ElasticHead):
    """Random margin on the cosine; the paper has margin 0.35 and sigma 0.05, with ``plus`` sigma 0.02."""

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Subtract a random margin from the target's cosine."""
        return margins.cosface(cosine, target, self.draw_margins(cosine, target))
