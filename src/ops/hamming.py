"""Search among packed codes by the number of bits or symbols that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError, check_choice
from src.ops import hamming_reference
from src.ops.arrays import as_tensor
from src.ops.library import LIBRARY, define

__all__ = ["Metric", "TopK", "hamming_distances", "hamming_topk"]

Metric = Literal["bits", "symbols"]
Words = Tensor | NDArray[np.int64] | NDArray[np.uint64]

define(
    "hamming_topk(Tensor codes, Tensor queries, Tensor? key, int k, int runs) -> (Tensor, Tensor)",
    hamming_reference.topk,
)
define("hamming_distances(Tensor codes, Tensor queries, Tensor? key, int runs) -> Tensor", hamming_reference.distances)


@dataclass(frozen=True)
class TopK:
    """The nearest codes of each query, ordered by distance and, where that is equal, by id.

    Attributes:
        distances: int32 [Q, min(k, N)].
        ids: int64 [Q, min(k, N)], row numbers.
    """

    distances: Tensor
    ids: Tensor


def hamming_topk(
    codes: Words, queries: Words, k: int, *, key: Words | None = None, metric: Metric = "bits", planes: int = 1
) -> TopK:
    """The ``k`` nearest codes of each query; exact, whatever the number of threads.

    Args:
        codes: int64 or uint64 [N, W], tensor, array or memory map, which may be read-only; never copied as a whole if
            the words of a row lie side by side. Tensors are searched on the device that they are on.
        queries: int64 or uint64 [Q, W].
        k: How many codes to find for each query, at least 1.
        key: [N, W], what each code is XORed with before it is compared; None compares it as it is.
        metric: ``"bits"`` counts the bits that differ. ``"symbols"`` counts the symbols: words are ``planes`` equal
            runs, bit t of every run belongs to symbol t, which differs if it does in any of the runs.
        planes: Runs of the words, of which W is a multiple.

    Returns:
        The nearest codes.

    Raises:
        UserError: Shapes, types or devices disagree, or ``k`` is less than 1.
    """
    if k < 1:
        raise UserError(f"k={k}: expected at least 1")
    words, runs = _checked(codes, queries, key, metric, planes)
    return TopK(*torch.ops.privface.hamming_topk(*words, k, runs))


def hamming_distances(
    codes: Words, queries: Words, *, key: Words | None = None, metric: Metric = "bits", planes: int = 1
) -> Tensor:
    """Distances of each query to each code, int32 [Q, N].

    Args:
        codes: As in `hamming_topk`.
        queries: See there.
        key: See there.
        metric: See there.
        planes: See there.

    Raises:
        UserError: Shapes, types or devices disagree.
    """
    words, runs = _checked(codes, queries, key, metric, planes)
    return torch.ops.privface.hamming_distances(*words, runs)


def _checked(
    codes: Words, queries: Words, key: Words | None, metric: Metric, planes: int
) -> tuple[tuple[Tensor, Tensor, Tensor | None], int]:
    """Tensors of codes, queries and key, and in how many runs their words are to be compared."""
    check_choice("metric", metric, get_args(Metric))
    gallery, probes = _to_words(codes, "codes"), _to_words(queries, "queries")
    pads = None if key is None else _to_words(key, "key")
    given = [words for words in (gallery, probes, pads) if words is not None]
    width = gallery.shape[1]
    if probes.shape[1] != width or (pads is not None and pads.shape != gallery.shape):
        found = [list(words.shape) for words in given]
        raise UserError(f"expected codes [N, W], queries [Q, W] and a key [N, W] of the same widths, found {found}")
    if any(words.device != gallery.device for words in given):
        raise UserError(f"expected all words on one device, found {[str(words.device) for words in given]}")
    if planes < 1 or width % planes:
        raise UserError(f"planes={planes}: expected at least 1, and words ({width}) a multiple of planes")
    return (gallery, probes, pads), planes if metric == "symbols" else 1


def _to_words(words: Words, name: str) -> Tensor:
    values = words if isinstance(words, Tensor) else np.asarray(words)
    kinds = (torch.int64, torch.uint64) if isinstance(values, Tensor) else (np.int64, np.uint64)
    if values.ndim != 2 or values.dtype not in kinds:
        raise UserError(f"{name}: expected int64 [N, W], found {values.dtype} {list(values.shape)}")
    return values.view(torch.int64) if isinstance(values, Tensor) else as_tensor(values.view(np.int64))


def _fake_topk(codes: Tensor, queries: Tensor, key: Tensor | None, k: int, runs: int) -> tuple[Tensor, Tensor]:
    found = codes.new_empty((queries.shape[0], min(k, codes.shape[0])))
    return found.int(), found


def _fake_distances(codes: Tensor, queries: Tensor, key: Tensor | None, runs: int) -> Tensor:
    return codes.new_empty((queries.shape[0], codes.shape[0]), dtype=torch.int32)


torch.library.register_fake("privface::hamming_topk", _fake_topk, lib=LIBRARY)
torch.library.register_fake("privface::hamming_distances", _fake_distances, lib=LIBRARY)
