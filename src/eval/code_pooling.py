"""Pooling codes of images into one code per template: at each position the symbol that most images have.

Symbols are names, not quantities, so that they have a mode and neither sum nor mean.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.collector import ALONE, Collected, Processes, check_codes

__all__ = ["CODES", "CodeTemplateCollector", "pool_codes", "symbol_mode"]

Numbers = NDArray[np.integer]

CODES = "codes"
"""Name of the pooled codes in what `CodeTemplateCollector.collect` yields."""

_POOLED = 1 << 24  # counts looked at together


def symbol_mode(counts: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Most frequent symbol.

    Args:
        counts: Integers [..., q]: how often each symbol occurs.

    Returns:
        uint8 [...]; of several that are as frequent the middle one, of two middle ones the lower (DRH specification,
        section 7.5, where every symbol may occur once).
    """
    tied = counts == counts.max(axis=-1, keepdims=True)
    number = tied.cumsum(axis=-1, dtype=np.int16)  # of a tied symbol among those, from 1
    middle = (number[..., -1:] + 1) // 2
    return (number >= middle).argmax(axis=-1).astype(np.uint8)


def pool_codes(codes: NDArray[np.uint8], template: ArrayLike, q: int) -> tuple[Numbers, NDArray[np.uint8]]:
    """Pool codes that are all in memory.

    Args:
        codes: uint8 [N, m], values 0..q-1.
        template: [N] ids of the templates they belong to.
        q: Alphabet size.

    Returns:
        [T] ids of the templates, ascending, and uint8 [T, m] their codes.
    """
    ids, numbers = np.unique(np.asarray(template), return_inverse=True)
    counts = np.zeros((len(ids), codes.shape[1], q), np.int32)
    _count(counts, numbers, codes)
    return ids, symbol_mode(counts)


class CodeTemplateCollector:
    """Pools templates while codes stream by; keeps how often each symbol occurs, [T, m, q], and no image.

    `collect` yields ``codes``, uint8 [T, m], or [T, 2m] with mirror images: an image and its mirror image make one
    code, one after the other. Media and detector scores do not matter.

    Args:
        template: [N] number of each image's template, 0 .. T - 1, every one of which occurs.
        alphabet: Number of symbols q.
        flip: Whether mirror images are used.
        name: Of the benchmark, for messages.
    """

    def __init__(self, template: Numbers, alphabet: int, flip: bool = True, name: str = "templates") -> None:
        self._template = template
        self._alphabet = alphabet
        self._flip = flip
        self._name = name
        self._times_added = np.zeros(len(template), dtype=np.int32)
        self._counts: NDArray[np.unsignedinteger] | None = None

    def add(self, index: Tensor, original: Tensor, flipped: Tensor | None) -> None:
        """See `Collector.add`."""
        if self._flip and flipped is None:
            raise UserError(f"{self._name}: flip=true needs codes of the mirror images, too")
        codes = torch.cat([original, flipped], dim=1) if self._flip and flipped is not None else original
        check_codes(codes, self._alphabet, self._name)
        if self._counts is None:
            shape = (int(self._template.max()) + 1, codes.shape[1], self._alphabet)
            self._counts = np.zeros(shape, np.min_scalar_type(np.bincount(self._template).max()))
        numbers = index.cpu().numpy()
        image = numbers >= 0
        np.add.at(self._times_added, numbers[image], 1)
        _count(self._counts, self._template[numbers[image]], codes.cpu().numpy()[image])

    def collect(self, processes: Processes = ALONE) -> Collected:
        """See `Collector.collect`."""
        times_added = processes.sum(torch.from_numpy(self._times_added))
        if self._counts is None or (times_added != 1).any():
            raise UserError(
                f"{self._name}: {int((times_added == 1).sum())} of {len(times_added)} images were embedded; "
                "validate on all batches (trainer.limit_val_batches=1.0)"
            )
        step = max(1, _POOLED // self._counts[0].size)
        modes = []
        for start in range(0, len(self._counts), step):
            counts = processes.sum(torch.from_numpy(self._counts[start : start + step].astype(np.int32)))
            modes.append(torch.from_numpy(symbol_mode(counts.numpy())))
        return {CODES: torch.cat(modes)}


def _count(counts: NDArray[np.integer], template: Numbers, codes: NDArray[np.uint8]) -> None:
    """Count the symbols of codes [B, m] in the rows ``template`` [B] of ``counts`` [T, m, q]."""
    _, m, q = counts.shape
    first = np.arange(m) * q
    for row, code in zip(template, codes, strict=True):  # several times faster than all at once by np.add.at
        counts[row].reshape(-1)[first + code] += 1
