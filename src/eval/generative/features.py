"""Features of images: what extractors promise, and how a face recogniser becomes one."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError
from src.eval.collector import check_finite

__all__ = ["Classifier", "RecogniserClasses", "RecogniserFeatures", "as_stored", "check_features", "three_channels"]


@runtime_checkable
class Classifier(Protocol):
    """A feature extractor that can also tell classes, which `inception_score` needs."""

    def logits(self, features: Tensor) -> Tensor:
        """Logits [N, C] of features [N, D]."""


class RecogniserFeatures(nn.Module):
    """Embeddings of a face recogniser as features of images of any size.

    Args:
        network: From float32 [N, 3, S, S] in [-1, 1] RGB to embeddings [N, D]. Images are resized (bilinear,
            antialiased) to its attribute ``size``; if that is None they are left as they are.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch.

        Args:
            images: float32 [N, 3, H, W] in [-1, 1] RGB.

        Returns:
            float32 [N, D], of any scale.
        """
        size = cast("int | None", self.network.size)
        if size is not None and images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        return self.network(images)


class RecogniserClasses(RecogniserFeatures):
    """Embeddings of a face recogniser, and known people as classes.

    Args:
        network: See `RecogniserFeatures`.
        centres: Floating [C, D] embeddings of people, one each, of any scale.
        scale: Of the cosines that become logits, as of margin heads.
    """

    centres: Tensor

    def __init__(self, network: nn.Module, centres: Tensor, scale: float = 64.0) -> None:
        super().__init__(network)
        self.scale = scale
        self.register_buffer("centres", F.normalize(centres.float()), persistent=False)

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosines [N, C] of features float32 [N, D] to the people."""
        return self.scale * F.linear(F.normalize(features), self.centres)


def three_channels(images: Tensor) -> Tensor:
    """Images [N, 3, H, W] of [N, 3, H, W] or, near infrared, [N, 1, H, W].

    Raises:
        UserError: They have another shape.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"images: expected [N, 3, H, W], or [N, 1, H, W] of near infrared; found {list(images.shape)}")
    return images.expand(-1, 3, -1, -1)


def as_stored(images: Tensor) -> Tensor:
    """What is left of images once they are stored in 8 bits, so that real and generated ones are judged alike.

    Args:
        images: float [N, C, H, W], nominally in [-1, 1].

    Returns:
        Same shape, ``clamp(127.5 x + 128)`` truncated (ArcBiFaceGAN specification, section 2.4), back in [-1, 1].
        Images that were read from 8 bits do not change.
    """
    return (images * 127.5 + 128).clamp(0, 255).floor() / 127.5 - 1


def check_features(metric: str, minimum: int, **features: Tensor) -> list[Tensor]:
    """Features of real and of generated images, in float64 if they were in float64, else in float32.

    Args:
        metric: Who asks, for messages.
        minimum: Rows that are needed of each.
        **features: Floating [N, D] by kind, all of the same D.

    Raises:
        UserError: There are too few rows, shapes disagree, or values are not finite.
    """
    shapes = {kind: list(rows.shape) for kind, rows in features.items()}
    if any(len(shape) != 2 for shape in shapes.values()) or len({shape[-1] for shape in shapes.values()}) > 1:
        raise UserError(f"{metric}: expected features [N, D] of the same D, found {shapes}")
    if any(shape[0] < minimum for shape in shapes.values()):
        counts = ", ".join(f"{shape[0]} {kind}" for kind, shape in shapes.items())
        raise UserError(f"{metric}: expected {minimum} or more images of each kind, found {counts}")
    for kind, rows in features.items():
        check_finite(rows.detach().cpu().numpy(), f"{metric}: {kind} features")
    return [rows.detach() if rows.dtype == torch.float64 else rows.detach().float() for rows in features.values()]
