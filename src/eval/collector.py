"""What a benchmark keeps of the embeddings that stream by, and how processes join their shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError

__all__ = [
    "ALONE",
    "Collected",
    "Collector",
    "EmbeddingCollector",
    "Processes",
    "check_codes",
    "check_count",
    "check_finite",
]

Collected = Mapping[str, Tensor]
"""What is left of an extraction, by name, on the CPU: all that a benchmark needs to be scored, and what is cached."""


class Processes(Protocol):
    """Joins what several processes computed; every one of them gets the result."""

    def rows(self, share: Tensor) -> Tensor:
        """Concatenate tensors [n, ...] of the same shape to [W * n, ...], on the CPU."""

    def sum(self, share: Tensor) -> Tensor:
        """Add tensors of the same shape, element by element, on the CPU."""


class _Alone:
    """One process."""

    def rows(self, share: Tensor) -> Tensor:
        return share

    def sum(self, share: Tensor) -> Tensor:
        return share


ALONE: Processes = _Alone()


class Collector(Protocol):
    """Takes the embeddings or codes of a benchmark's images, batch by batch and in any order."""

    def add(self, index: Tensor, original: Tensor, flipped: Tensor | None) -> None:
        """Take one batch.

        Args:
            index: int64 [B], numbers of the images; `evaluation_images.FILLER` marks rows to drop.
            original: Floating [B, D], raw embeddings, or uint8 [B, m], codes, on any device.
            flipped: Those of the mirror images, if there are any.

        Raises:
            UserError: An embedding is NaN or infinite, or a value no symbol.
        """

    def collect(self, processes: Processes = ALONE) -> Collected:
        """Join the shares of all processes.

        Raises:
            UserError: Not every image was embedded.
        """


class EmbeddingCollector:
    """Keeps the embeddings or codes of all images.

    `collect` yields ``original``, float32 [N, D] or uint8 [N, m], and ``flipped`` of the same shape if mirror images
    were embedded.

    Args:
        count: Number of images N.
        name: Of the benchmark, for messages.
        copy_of: int64 [N], the image whose embedding stands for each where that one alone was embedded, see
            `src.datamodules.evaluation_images.first_copies`; None: every image stands for itself.
        alphabet: Of codes, the number of symbols q; None for embeddings.
    """

    def __init__(
        self, count: int, name: str, copy_of: NDArray[np.int64] | None = None, alphabet: int | None = None
    ) -> None:
        self._count = count
        self._name = name
        self._copy_of = torch.arange(count) if copy_of is None else torch.from_numpy(copy_of)
        self._alphabet = alphabet
        self._batches: list[tuple[Tensor, ...]] = []

    def add(self, index: Tensor, original: Tensor, flipped: Tensor | None) -> None:
        """See `Collector.add`."""
        views = [original] if flipped is None else [original, flipped]
        if self._alphabet is None:
            views = [view.float() for view in views]
        else:
            for view in views:
                check_codes(view, self._alphabet, self._name)
        self._batches.append((index.cpu(), *(view.cpu() for view in views)))

    def collect(self, processes: Processes = ALONE) -> Collected:
        """See `Collector.collect`."""
        if not self._batches:
            raise UserError(f"{self._name}: no image was embedded; validate on all batches (limit_val_batches=1.0)")
        index, *views = (processes.rows(torch.cat(parts)) for parts in zip(*self._batches, strict=True))
        embedded = index[index >= 0]
        stands_for = self._stands_for(embedded)
        collected = {}
        for view_name, view in zip(("original", "flipped"), views, strict=False):
            ordered = torch.empty((self._count, view.shape[1]), dtype=view.dtype)
            ordered[embedded] = view[index >= 0]
            collected[view_name] = ordered[stands_for]
            check_finite(collected[view_name].numpy(), f"{self._name}: embeddings")
        return collected

    def _stands_for(self, embedded: Tensor) -> Tensor:
        """For each image the one whose embedding it takes, int64 [N]."""
        for stands_for in (torch.arange(self._count), self._copy_of):
            if torch.equal(embedded.sort().values, stands_for.unique()):
                return stands_for
        raise _incomplete(len(embedded), len(self._copy_of.unique()), self._name)


def check_count(collected: Collected, count: int, name: str) -> None:
    """Refuse embeddings or codes of fewer or more images than there are.

    Args:
        collected: Of one extraction.
        count: Number of images.
        name: What the message calls them.

    Raises:
        UserError: Tells what was found.
    """
    if len(collected["original"]) != count:
        raise _incomplete(len(collected["original"]), count, name)


def _incomplete(found: int, expected: int, name: str) -> UserError:
    return UserError(
        f"{name}: {found} embeddings for {expected} images; validate on all batches (trainer.limit_val_batches=1.0)"
    )


def check_codes(codes: Tensor, alphabet: int, name: str) -> None:
    """Refuse ``codes`` [B, m] that are not uint8 with values below ``alphabet``.

    Args:
        codes: On any device.
        alphabet: Number of symbols q.
        name: What the message calls them.

    Raises:
        UserError: Tells what was found.
    """
    if codes.dtype != torch.uint8 or (codes.numel() and int(codes.max()) >= alphabet):
        found = f" up to {int(codes.max())}" if codes.numel() else ""
        raise UserError(f"{name}: expected codes of uint8 with values below {alphabet}, found {codes.dtype}{found}")


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
            f"{name}: {len(broken)} of {len(embeddings)} rows hold NaN or infinity "
            f"(first rows: {', '.join(map(str, broken[:5]))}). The network has diverged, or its weights or images "
            "are damaged: try an earlier checkpoint, a smaller learning rate or trainer.precision=32-true"
        )
