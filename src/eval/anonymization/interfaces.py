"""What the metrics need of networks. All tensors are on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Detection", "Detector", "Embed", "Faces", "Predict", "Transform", "as_bytes", "random_bits", "wrong_bits"]


class Faces(NamedTuple):
    """Faces as a transformer sees them.

    Attributes:
        images: Float32 [N, 3, S, S] in [-1, 1] RGB.
        landmarks: Float32 [N, 5, 2], (x, y) pixels: left eye, right eye, nose, left and right mouth corner.
    """

    images: Tensor
    landmarks: Tensor


Transform = Callable[[Tensor, Tensor], Tensor]
"""From images [N, 3, S, S] and passwords, bool [N, L], to images: anonymises, or recovers with the complement."""

Embed = Callable[[Tensor, Tensor], Tensor]
"""From images [N, 3, S, S], and the landmarks of the faces they were made of, to embeddings float [N, D]."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""From images before and after to logits [N, L / 4, 16] of the password, four bits at a time."""


class Detection(Protocol):
    """A face that was found."""

    @property
    def probability(self) -> float:
        """That it is one."""

    @property
    def landmarks(self) -> Tensor:
        """Its five points, [5, 2] pixels."""


class Detector(Protocol):
    """Finds faces."""

    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """The faces on each of some images, uint8 [N, 3, H, W] RGB."""


def as_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they are stored, uint8."""
    return (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def random_bits(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Uniform passwords, bool [count, length]."""
    return torch.randint(0, 2, (count, length), generator=generator).bool()


def wrong_bits(password: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform passwords [N, L] to recover with, none of them the right one, which is the complement of ``password``."""
    flipped = random_bits(len(password), password.shape[1], generator)
    while (right := ~flipped.any(dim=1)).any():
        flipped[right] = random_bits(int(right.sum()), password.shape[1], generator)
    return ~password ^ flipped
