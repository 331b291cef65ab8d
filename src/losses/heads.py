"""Classification heads with a margin: class centres, cosine logits, margin and cross entropy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.losses import margins
from src.losses.margins import Gradient, Guard
from src.ops.margin_softmax import margin_cross_entropy

__all__ = [
    "AdditiveMarginHead",
    "ArcFaceHead",
    "CombinedMarginHead",
    "CosFaceHead",
    "HeadOutput",
    "MarginHead",
    "NormalizedSoftmaxHead",
]


class HeadOutput(NamedTuple):
    """What a head returns.

    Attributes:
        loss: Mean over the batch, a scalar with gradient.
        target_cosine: Mean cosine between an embedding and its class centre before the margin, a detached scalar.
    """

    loss: Tensor
    target_cosine: Tensor


class MarginHead(nn.Module, ABC):
    """Cross entropy over the cosines between embeddings and learnt class centres, with a margin.

    A subclass implements `apply_margin`. Cosines are computed in single precision at least, autocast or not: at scale
    64, rounding a cosine to bfloat16 moves its logit by up to a quarter.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        scale: Factor s from cosines to logits.
        filter_threshold: Cosines with other classes above this are ignored, see `margins.filter_interclass`; 0 is off.
    """

    def __init__(
        self, embedding_size: int, num_classes: int, scale: float = 64.0, filter_threshold: float = 0.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.filter_threshold = filter_threshold
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_size).normal_(0.0, 0.01))

    @abstractmethod
    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Change the cosines by the margin.

        Args:
            cosine: Float [B,C] in [-1, 1].
            target: int64 [B].
            norm: Euclidean norms of the embeddings, float [B].

        Returns:
            Float [B,C], not yet scaled.
        """

    def loss(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Cross entropy after the margin; arguments as of `apply_margin`, a scalar."""
        return F.cross_entropy(self.scale * self.apply_margin(cosine, target, norm), target)

    def forward(self, embedding: Tensor, target: Tensor) -> HeadOutput:
        """Compute the loss of a batch.

        Args:
            embedding: Float [B,D], of any precision, not normalised.
            target: int64 [B] in [0, C); not changed.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            return self.output(embedding.to(torch.promote_types(embedding.dtype, torch.float32)), target)

    def output(self, embedding: Tensor, target: Tensor) -> HeadOutput:
        """What `forward` returns, for an embedding of single precision at least."""
        weight = self.weight.to(embedding.dtype)
        cosine = F.linear(F.normalize(embedding), F.normalize(weight)).clamp(-1, 1)
        mean_cosine = margins.target_cosine(cosine.detach(), target).mean()
        if self.filter_threshold > 0:
            cosine = margins.filter_interclass(cosine, target, self.filter_threshold)
        return HeadOutput(self.loss(cosine, target, embedding.norm(dim=1)), mean_cosine)


class AdditiveMarginHead(MarginHead):
    """Margins added to the target's angle and subtracted from its cosine, the same for every sample.

    The loss comes from `margin_cross_entropy`, which computes what the methods of `MarginHead` do, faster and in less
    memory: the cosines [B,C] are held once.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        angle_margin: Added to the target's angle, in radians.
        cosine_margin: Subtracted from its cosine.
        scale: Factor s from cosines to logits.
        margin_gradient: ``"straight_through"`` as in arcface_torch, or ``"exact"``.
        guard: What replaces the angle's margin for large angles, see `margins.arcface`.
        filter_threshold: As of `MarginHead`.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        angle_margin: float = 0.0,
        cosine_margin: float = 0.0,
        scale: float = 64.0,
        margin_gradient: Gradient = "straight_through",
        guard: Guard = "none",
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, scale, filter_threshold)
        check_choice("margin_gradient", margin_gradient, get_args(Gradient))
        check_choice("guard", guard, get_args(Guard))
        self.angle_margin = angle_margin
        self.cosine_margin = cosine_margin
        self.margin_gradient = margin_gradient
        self.guard = guard

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Apply both margins to the target."""
        turned = margins.arcface(cosine, target, self.angle_margin, self.margin_gradient, self.guard)
        return margins.cosface(turned, target, self.cosine_margin)

    def output(self, embedding: Tensor, target: Tensor) -> HeadOutput:
        """The same from the operator."""
        loss, mean_cosine = margin_cross_entropy(
            embedding,
            self.weight,
            target,
            scale=self.scale,
            angle_margin=self.angle_margin,
            cosine_margin=self.cosine_margin,
            gradient=self.margin_gradient,
            guard=self.guard,
            filter_threshold=self.filter_threshold,
        )
        return HeadOutput(loss, mean_cosine)


class NormalizedSoftmaxHead(AdditiveMarginHead):
    """No margin (Wang et al. 2017, "NormFace"). Arguments as of `MarginHead`."""

    def __init__(
        self, embedding_size: int, num_classes: int, scale: float = 64.0, filter_threshold: float = 0.0
    ) -> None:
        super().__init__(embedding_size, num_classes, scale=scale, filter_threshold=filter_threshold)


class CosFaceHead(AdditiveMarginHead):
    """Additive cosine margin, see `margins.cosface`.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: Subtracted from the target's cosine: 0.4 in arcface_torch, 0.35 in the paper.
        scale: Factor s from cosines to logits.
        filter_threshold: As of `MarginHead`.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float = 0.4,
        scale: float = 64.0,
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, 0.0, margin, scale, filter_threshold=filter_threshold)


class ArcFaceHead(AdditiveMarginHead):
    """Additive angular margin, see `margins.arcface`.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        margin: Added to the target's angle, in radians.
        scale: Factor s from cosines to logits.
        margin_gradient: ``"straight_through"`` as in arcface_torch, or ``"exact"``.
        guard: What replaces the margin for large angles: ``"none"``, ``"linear"`` or ``"easy"``.
        filter_threshold: As of `MarginHead`.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: float = 0.5,
        scale: float = 64.0,
        margin_gradient: Gradient = "straight_through",
        guard: Guard = "none",
        filter_threshold: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, margin, 0.0, scale, margin_gradient, guard, filter_threshold)


class CombinedMarginHead(AdditiveMarginHead):
    """Multiplicative, additive angular and additive cosine margin together, see `margins.combined`.

    Args:
        embedding_size: Length D of an embedding.
        num_classes: Number of classes C.
        m1: Factor on the target's angle.
        m2: Radians added to it.
        m3: Subtracted from its cosine.
        scale: Factor s from cosines to logits.
        margin_gradient: ``"straight_through"`` as in arcface_torch, or ``"exact"``.
        compat: ``"insightface"`` repeats arcface_torch, which ignores m1 and m2 when m3 is positive.
        filter_threshold: As of `MarginHead`.

    Raises:
        UserError: If ``compat`` is ``"insightface"`` and m1 is not 1 while m3 is 0, which arcface_torch cannot do.
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        m1: float = 1.0,
        m2: float = 0.5,
        m3: float = 0.0,
        scale: float = 64.0,
        margin_gradient: Gradient = "straight_through",
        compat: Literal["none", "insightface"] = "none",
        filter_threshold: float = 0.0,
    ) -> None:
        check_choice("compat", compat, ("none", "insightface"))
        if compat == "insightface" and m3 > 0:
            m1, m2 = 1.0, 0.0
        elif compat == "insightface" and m1 != 1:
            raise UserError(f"compat=insightface has no margin with m1={m1} and m3={m3}; set compat=none")
        super().__init__(embedding_size, num_classes, m2, m3, scale, margin_gradient, filter_threshold=filter_threshold)
        self.m1 = m1

    def apply_margin(self, cosine: Tensor, target: Tensor, norm: Tensor) -> Tensor:
        """Apply the three margins to the target."""
        return margins.combined(cosine, target, self.m1, self.angle_margin, self.cosine_margin, self.margin_gradient)

    def output(self, embedding: Tensor, target: Tensor) -> HeadOutput:
        """From the operator if the angle is not multiplied."""
        return super().output(embedding, target) if self.m1 == 1 else MarginHead.output(self, embedding, target)
