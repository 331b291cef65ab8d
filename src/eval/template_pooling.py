"""Pooling embeddings of images into one vector per template.

The vector of a template is the sum over its media of the mean over a medium's images, the order of operations that
published results share (Whitelam et al. 2017 define templates and media). That is a weighted sum over images, so it is
formed while they stream by; the eight combinations of the literature differ in the weights only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.collector import ALONE, Collected, Processes

__all__ = ["COMBINATIONS", "Combination", "TemplateCollector", "pool_templates", "unit_templates"]

Array = NDArray[np.float64]
Numbers = NDArray[np.integer]

_BLOCK = 64  # images: small enough that a product with a matrix, nearly all of it zeros, is the fastest way to add


@dataclass(frozen=True)
class Combination:
    """How embeddings are pooled.

    Attributes:
        keep_norm: Pool raw embeddings, whose length tells of the image's quality; otherwise each has length 1 first.
        detector: Weight every image by its detector score.
        flip: Add the embedding of the mirror image first.
    """

    keep_norm: bool = True
    detector: bool = True
    flip: bool = True

    @property
    def name(self) -> str:
        """Such as ``N1D1F1``, where ``N1`` means that the norm is kept.

        Some evaluation scripts print ``N1`` for embeddings that were normalised, the opposite; always state the flags.
        """
        return f"N{self.keep_norm:d}D{self.detector:d}F{self.flip:d}"


COMBINATIONS = tuple(Combination(*flags) for flags in product((True, False), repeat=3))
"""All eight."""


def pool_templates(
    features: NDArray[np.floating],
    template: ArrayLike,
    medium: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    keep_norm: bool = True,
) -> tuple[Numbers, NDArray[np.float32]]:
    """Pool embeddings that are all in memory.

    Args:
        features: [N, D] embeddings of images, e.g. those of image and mirror image added.
        template: [N] ids of the templates they belong to.
        medium: [N] which images of a template belong together.
        weight: [N] detector scores; by default all count the same.
        keep_norm: Pool the embeddings as they are; otherwise each is scaled to length 1 first.

    Returns:
        [T] ids of the templates, ascending, and float32 [T, D] their vectors, of length 1.
    """
    ids, numbers = np.unique(np.asarray(template), return_inverse=True)
    weights = _image_weights(numbers, np.asarray(medium), None if weight is None else np.asarray(weight))
    sums = np.zeros((len(ids), features.shape[1]))
    _add(sums, numbers, features, weights if keep_norm else weights * _inverse_lengths(features))
    return ids, unit_templates(sums)


def unit_templates(sums: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale sums [T, D] to length 1, float32; a template whose images all have the weight 0 stays zero."""
    unit = np.empty(sums.shape, dtype=np.float32)
    return np.multiply(sums, _inverse_lengths(sums)[:, None], out=unit, casting="same_kind")


class TemplateCollector:
    """Pools templates while embeddings stream by; keeps a float64 [T, D] sum for each combination and no image.

    `collect` yields each combination's sums by its name, float32 [T, D], not normalised.

    Args:
        template: [N] number of each image's template, 0 .. T - 1, every one of which occurs.
        medium: [N] which images of a template belong together.
        weight: [N] detector scores.
        combinations: What to pool.
        name: Of the benchmark, for messages.
    """

    def __init__(
        self,
        template: Numbers,
        medium: Numbers,
        weight: NDArray[np.floating],
        combinations: Sequence[Combination] = COMBINATIONS,
        name: str = "templates",
    ) -> None:
        self._template = template
        self._weights = {
            True: _image_weights(template, medium, weight),
            False: _image_weights(template, medium, None),
        }
        self._combinations = combinations
        self._name = name
        self._times_added = np.zeros(len(template), dtype=np.int32)
        self._sums: dict[str, Array] = {}

    def add(self, index: Tensor, original: Tensor, flipped: Tensor | None) -> None:
        """See `Collector.add`."""
        if not self._sums:
            shape = (int(self._template.max()) + 1, original.shape[1])
            self._sums = {combination.name: np.zeros(shape) for combination in self._combinations}
        numbers = index.cpu().numpy()
        image = numbers >= 0
        numbers = numbers[image]
        np.add.at(self._times_added, numbers, 1)
        for flip in (False, True):
            if any(combination.flip is flip for combination in self._combinations):
                view = self._view(original, flipped, flip)[image]
                self._check_finite(view, numbers)
                self._add_view(view, numbers, flip)

    def collect(self, processes: Processes = ALONE) -> Collected:
        """See `Collector.collect`; can be called once."""
        times_added = processes.sum(torch.from_numpy(self._times_added))
        if not self._sums or (times_added != 1).any():
            raise UserError(
                f"{self._name}: {int((times_added == 1).sum())} of {len(times_added)} images were embedded; "
                "validate on all batches (trainer.limit_val_batches=1.0)"
            )
        # Sums are let go one by one: they may take a gigabyte.
        return {name: processes.sum(torch.from_numpy(self._sums.pop(name)).float()) for name in list(self._sums)}

    def _view(self, original: Tensor, flipped: Tensor | None, flip: bool) -> Array:
        """What is pooled of each image of a batch, float64 [B, D]."""
        if not flip:
            return _to_float64(original)
        if flipped is None:
            raise UserError(f"{self._name}: flip=true needs embeddings of the mirror images, too")
        return _to_float64(original) + _to_float64(flipped)

    def _check_finite(self, view: Array, numbers: Numbers) -> None:
        broken = numbers[~np.isfinite(view).all(axis=1)]
        if len(broken):
            raise UserError(
                f"{self._name}: embeddings of {len(broken)} images of a batch hold NaN or infinity "
                f"(images {', '.join(map(str, broken[:5]))}). The network has diverged, or its weights or images are "
                "damaged: try an earlier checkpoint, a smaller learning rate or trainer.precision=32-true"
            )

    def _add_view(self, view: Array, numbers: Numbers, flip: bool) -> None:
        inverse_lengths = _inverse_lengths(view)
        for combination in self._combinations:
            if combination.flip is flip:
                weights = self._weights[combination.detector][numbers]
                weights = weights if combination.keep_norm else weights * inverse_lengths
                _add(self._sums[combination.name], self._template[numbers], view, weights)


def _image_weights(template: Numbers, medium: Numbers, weight: NDArray[np.floating] | None) -> Array:
    """float64 [N]: what an image's embedding counts in its template's sum."""
    order = np.lexsort((medium, template))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(template[order]) != 0) | (np.diff(medium[order]) != 0)
    images = np.diff(np.flatnonzero(new), append=len(order))
    weights = np.empty(len(order))
    weights[order] = np.repeat(1 / images, images)
    return weights if weight is None else weights * weight


def _to_float64(embeddings: Tensor) -> Array:
    # By NumPy: threads that PyTorch wakes up for so little work cost far more than the work.
    return embeddings.cpu().float().numpy().astype(np.float64)


def _inverse_lengths(vectors: NDArray[np.floating]) -> Array:
    """float64 [B] of vectors [B, D]; 0 for a vector of zeros."""
    lengths = np.sqrt(np.einsum("bd,bd->b", vectors, vectors, dtype=np.float64))
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _add(sums: Array, template: Numbers, vectors: NDArray[np.floating], weights: Array) -> None:
    """Add weighted vectors [B, D] to the rows ``template`` [B] of ``sums`` [T, D]."""
    for start in range(0, len(template), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows, row = np.unique(template[block], return_inverse=True)
        shares = np.zeros((len(rows), len(row)))
        shares[row, np.arange(len(row))] = weights[block]
        sums[rows] += shares @ vectors[block].astype(np.float64)
