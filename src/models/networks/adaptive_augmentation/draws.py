"""The random numbers of an augmentation: how much, and for which samples."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Draws"]

_ROTATIONS = ("rotate_before", "rotate_after")
"""Two halves of one operation: either is drawn so often that both together leave a share of 1 - p as it is."""


class Draws:
    """Draws the strength of every operation for every sample, from PyTorch's global generator of the device.

    A strength is 0 for a sample that the operation spares. The strength is drawn before whether it counts, also where
    it does not, so that operations do not depend on each other's outcome. A subclass may fix the values.

    Args:
        p: Probability of every operation, a float32 scalar; 1 or more is always.
        samples: Number of samples, N.
    """

    def __init__(self, p: Tensor, samples: int) -> None:
        self.p, self.samples = p, samples

    def normal(self, operation: str, *shape: int) -> Tensor:
        """From N(0, 1): float32 [N, *shape]."""
        value = torch.randn(self.samples, *shape, device=self.p.device)
        return self._gated(operation, value)

    def signed(self, operation: str, *shape: int) -> Tensor:
        """Uniform in [-1, 1): float32 [N, *shape]."""
        value = 2 * self._uniform(*shape) - 1
        return self._gated(operation, value)

    def choice(self, operation: str, count: int) -> Tensor:
        """One of 0, 1, ..., ``count - 1``: float32 [N]."""
        value = (self._uniform() * count).floor()
        return self._gated(operation, value)

    def applied(self, operation: str) -> Tensor:
        """Which samples an operation of fixed strength applies to: bool [N]."""
        return self._uniform() < self._probability(operation)

    def position(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), for spared samples too: float32 [N, *shape]."""
        return self._uniform(*shape)

    def _gated(self, operation: str, value: Tensor) -> Tensor:
        applied = self.applied(operation).reshape(-1, *[1] * (value.ndim - 1))
        return torch.where(applied, value, 0)

    def _probability(self, operation: str) -> Tensor:
        return 1 - (1 - self.p).clamp(0, 1).sqrt() if operation in _ROTATIONS else self.p

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.samples, *shape, device=self.p.device)
