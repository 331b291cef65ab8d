"""Embeddings of a benchmark's images, put together from the batches of all processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from src.errors import UserError

__all__ = ["Batch", "Embeddings", "assemble", "check_finite"]

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]
"""Index int64 [B], raw embeddings [B, D], raw embeddings of the mirror images [B, D] or None."""


@dataclass(frozen=True)
class Embeddings:
    """Raw embeddings of images 0..N-1 in order, not normalised.

    Attributes:
        original: float32 [N, D].
        flipped: float32 [N, D] of the mirror images, or None.

    Raises:
        UserError: A value is NaN or infinite.
    """

    original: torch.Tensor
    flipped: torch.Tensor | None = None

    def __post_init__(self) -> None:
        for view in (self.original, self.flipped):
            if view is not None:
                check_finite(view.numpy(), "embeddings")

    def __len__(self) -> int:
        return len(self.original)


def assemble(batches: Sequence[Batch]) -> Embeddings:
    """Sort gathered batches by image and drop the repeats that distributed sampling adds to even out the shares.

    Args:
        batches: In any order; together they hold every image at least once.

    Returns:
        One row per image.

    Raises:
        UserError: There is no batch, or an embedding is NaN or infinite.
        RuntimeError: Images are missing.
    """
    if not batches:
        raise UserError("no image was embedded: the benchmark is empty or its loader was limited to 0 batches")
    indices, rows = np.unique(torch.cat([index for index, _, _ in batches]).numpy(), return_index=True)
    missing = np.setdiff1d(np.arange(indices[-1] + 1), indices)
    if len(missing):
        raise RuntimeError(
            f"{len(missing)} of {indices[-1] + 1} images were not embedded "
            f"(first: {', '.join(map(str, missing[:5]))}); a process skipped part of its share"
        )
    order = torch.from_numpy(rows)
    original = torch.cat([embedding for _, embedding, _ in batches])[order]
    mirrored = [flipped for _, _, flipped in batches if flipped is not None]
    return Embeddings(original.float(), torch.cat(mirrored)[order].float() if mirrored else None)


def check_finite(embeddings: NDArray[np.floating], name: str) -> None:
    """Refuse ``embeddings`` [N, D] that are not finite.

    Args:
        embeddings: Any floating type.
        name: What the message calls them.

    Raises:
        UserError: Tells how many rows hold NaN or infinity and the first of them.
    """
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        raise UserError(
            f"{len(broken)} of {len(embeddings)} {name} hold NaN or infinity "
            f"(first rows: {', '.join(map(str, broken[:5]))}). The network has diverged, or its weights or images "
            "are damaged: try an earlier checkpoint, a smaller learning rate or trainer.precision=32-true"
        )
