"""Pictures in pairs, and transforms and a recogniser that need no training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from src.datamodules.verification_sets import VerificationSet
from src.eval.anonymization.pairs import FacePairs
from src.eval.anonymization.suite import Networks

__all__ = ["LENGTH", "embed", "face_pairs", "identity_transform", "networks", "noise", "shift_stripes"]

LENGTH, SIZE, PEOPLE, EACH, FOLDS = 8, 16, 6, 4, 2


@dataclass(frozen=True)
class _Picture:
    pixels: Tensor
    number: int

    def load(self, size: int) -> Tensor:
        assert size == SIZE
        return self.pixels

    def digest(self) -> bytes:
        return bytes(self.number)

    def identity(self) -> int:
        return self.number


def face_pairs(**options: Any) -> FacePairs:
    """Pairs of six people with four images each, in two folds; images of a person have the same colours but for noise.

    Args:
        options: Of `FacePairs.of`.
    """
    random = np.random.default_rng(0)
    people = random.integers(40, 216, (PEOPLE, SIZE, SIZE, 3))
    images = [people[i] + random.integers(-20, 21, people[i].shape) for i in range(PEOPLE) for _ in range(EACH)]
    pictures = [_Picture(torch.from_numpy(pixels).to(torch.uint8), i) for i, pixels in enumerate(images)]
    chosen: list[_Picture] = []
    same = []
    for _ in range(FOLDS):
        for person in range(PEOPLE):
            for shift in (0, 1):  # of the same person, and of the next
                for number in range(EACH - 1):
                    other = (person + shift) % PEOPLE * EACH + number + 1
                    chosen += [pictures[person * EACH + number], pictures[other]]
                    same.append(shift == 0)
    return FacePairs.of(VerificationSet("few", chosen, np.array(same), FOLDS), SIZE, **options)


def embed(images: Tensor, landmarks: Tensor) -> Tensor:
    """A recogniser that needs no training: coarse pixels."""
    return F.interpolate(images, (8, 8), mode="area").flatten(1)


def identity_transform(images: Tensor, password: Tensor) -> Tensor:
    """Leave faces as they are."""
    return images


def noise(images: Tensor, password: Tensor) -> Tensor:
    """Forget everything."""
    return torch.rand(images.shape, generator=torch.Generator().manual_seed(7)) * 2 - 1


def shift_stripes(images: Tensor, password: Tensor) -> Tensor:
    """Make a stripe for every bit brighter or darker, around the clock, which the complement undoes."""
    shift = torch.where(password, 0.8, -0.8).repeat_interleave(SIZE // LENGTH, 1)[:, None, None]
    return (images + 1 + shift) % 2 - 1


def networks(transform: Any = identity_transform, **options: Any) -> Networks:
    """What judges a transform."""
    return Networks(transform, LENGTH, embed, "pixels", **options)
