"""What changes in the course of a training of a generator, and what is noted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from src.errors import UserError

__all__ = ["Adaptation", "Averaging", "Means"]


@dataclass(frozen=True)
class Adaptation:
    """How the probability of augmentations follows the discriminator (Karras et al. 2020, NeurIPS, section 3).

    Attributes:
        target: Mean of the signs of the logits of real images that is held.
        interval: Iterations from one change to the next.
        kimg: In so many thousand images the probability may rise from 0 to 1.

    Raises:
        UserError: The interval or ``kimg`` is not positive.
    """

    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0

    def __post_init__(self) -> None:
        if self.interval < 1 or self.kimg <= 0:
            raise UserError(
                f"model.adaptation: expected interval of at least 1 and kimg above 0, found {self.interval} and "
                f"{self.kimg}"
            )


@dataclass(frozen=True)
class Averaging:
    """Moving average of the generator's parameters.

    Attributes:
        kimg: After so many thousand images old parameters count half.
        ramp: The half life is no more than this share of the images seen so far; None for no limit.
    """

    kimg: float
    ramp: float | None = None


class Means:
    """Means of what was noted since they were taken last."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._newest: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Note scalars."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
            self._newest[name] = self._newest[name] + value if name in self._newest else value

    def not_finite(self) -> list[str]:
        """Names whose values since the last call were not finite; waits for the device once."""
        newest, self._newest = self._newest, {}
        if not newest:
            return []
        finite = torch.stack(list(newest.values())).isfinite().tolist()
        return [name for name, is_finite in zip(newest, finite, strict=True) if not is_finite]

    def take(self) -> dict[str, Tensor]:
        """The means by name; from now on new ones."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means
