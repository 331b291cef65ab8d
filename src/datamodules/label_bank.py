"""All identity features of a training set at hand, so that a generator can be conditioned on any of them."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from src.datamodules.decode import BadImage
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["LabelBank"]


class LabelBank(nn.Module):
    """The conditioning vectors of all training images (Tomasevic et al. 2024, ArcBiFaceGAN: `gen_c`).

    They are no part of a state dict, and follow the module that holds the bank to its device.

    Args:
        labels: float32 [N, D], of each image.
    """

    labels: Tensor

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.register_buffer("labels", labels, persistent=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Length D of a vector."""
        return self.labels.shape[1]

    @classmethod
    def of(cls, source: FaceSource) -> Self:
        """Read the features of all rows of a collection.

        Raises:
            UserError: It has none, one cannot be read, or they are not vectors of finite numbers, all of one length.
        """
        if not source.has_features:
            raise UserError(
                f"{source.name}: has no identity features; make them with privface features, see docs/paired_data.md"
            )
        rows: list[np.ndarray] = []
        for row in range(len(source)):
            try:
                feature = source.feature(row)
            except BadImage as error:
                raise UserError(f"{source.name}: {source.key(row)}: {error}; make its features again") from error
            if feature.ndim != 1 or (rows and feature.shape != rows[0].shape) or not np.isfinite(feature).all():
                expected = f"{len(rows[0])} finite numbers" if rows else "a vector of finite numbers"
                raise UserError(
                    f"{source.name}: {source.key(row)}: expected a feature of {expected}, found shape "
                    f"{list(feature.shape)}; make its features again"
                )
            rows.append(feature)
        return cls(torch.from_numpy(np.stack(rows)))

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """The vectors of images that are drawn at random, each equally likely, with replacement.

        Args:
            count: How many.
            generator: Of random numbers, on the CPU; seed it differently on every process.

        Returns:
            float32 [count, D], where the bank is.
        """
        rows = torch.randint(len(self), (count,), generator=generator)
        return self.labels[rows.to(self.labels.device)]
