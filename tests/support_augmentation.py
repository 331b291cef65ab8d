"""Draws of augmentations that are not random."""

from __future__ import annotations

import torch
from torch import Tensor

from src.models.networks.adaptive_augmentation import Draws


class PercentileDraws(Draws):
    """Every strength is the same quantile of its distribution, except the second rotation, which is none."""

    def __init__(self, samples: int, quantile: float) -> None:
        super().__init__(torch.ones(()), samples)
        self.quantile = torch.tensor(quantile)

    def normal(self, operation: str, *shape: int) -> Tensor:
        # The error function without the factor sqrt(2), as the golden values have it.
        return torch.erfinv(2 * self.quantile - 1).expand(self.samples, *shape)

    def signed(self, operation: str, *shape: int) -> Tensor:
        value = torch.zeros(()) if operation == "rotate_after" else 2 * self.quantile - 1
        return value.expand(self.samples, *shape)

    def choice(self, operation: str, count: int) -> Tensor:
        return (self.quantile * count).floor().expand(self.samples)

    def applied(self, operation: str) -> Tensor:
        return torch.ones(self.samples, dtype=torch.bool)

    def position(self, *shape: int) -> Tensor:
        return self.quantile.expand(self.samples, *shape)


class GivenDraws(Draws):
    """The strengths of the named operations, the same for all samples; all others are 0."""

    def __init__(self, samples: int, **strengths: float | list[float]) -> None:
        super().__init__(torch.zeros(()), samples)
        self.strengths = strengths

    def normal(self, operation: str, *shape: int) -> Tensor:
        return torch.tensor(self.strengths.get(operation, 0.0)).expand(self.samples, *shape)

    def signed(self, operation: str, *shape: int) -> Tensor:
        return self.normal(operation, *shape)

    def choice(self, operation: str, count: int) -> Tensor:
        return self.normal(operation)

    def applied(self, operation: str) -> Tensor:
        return torch.full((self.samples,), operation in self.strengths)

    def position(self, *shape: int) -> Tensor:
        return self.normal("position", *shape)
