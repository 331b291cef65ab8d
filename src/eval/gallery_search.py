"""Search of a gallery for each of many probes.

A probe is mated if the gallery holds an entry of its identity, its mate. Matrices of similarities are [S, G], one row
per probe and one column per gallery entry; they are read in blocks and never sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from src.errors import UserError, check_choice
from src.eval.operating_points import RocCurve, Scores

__all__ = [
    "Fusion",
    "Identities",
    "Matrix",
    "Searches",
    "blocks",
    "gallery_places",
    "search",
    "to_arrays",
]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Matrix = Scores | Tensor
Identities = ArrayLike | Tensor

Fusion = Literal["max", "median"]

_BLOCK = 1 << 18  # similarities looked at together: few enough to stay in the cache


@dataclass(frozen=True)
class Searches:
    """What became of one search of the gallery for each probe.

    Attributes:
        mated: bool [S], whether the gallery holds the probe's identity.
        mate: float [S], similarity to the probe's own identity; -inf if not mated.
        rival: float [S], highest similarity to another identity; -inf if there is none.
        rank: int64 [S], one more than the number of identities strictly more similar than the mate; 0 if not mated.
        n_identities: Number of identities in the gallery.
    """

    mated: NDArray[np.bool_]
    mate: Scores
    rival: Scores
    rank: Integers
    n_identities: int

    def cmc(self, depth: int | None = None) -> Array:
        """Cumulative match characteristic: share of mated probes with rank 1, at most 2, ...

        Args:
            depth: Highest rank, by default that of the whole gallery.

        Returns:
            float64 [depth], of no more ranks than there are identities.

        Raises:
            UserError: No probe is mated.
        """
        counts = np.bincount(self.rank[self.mated] - 1, minlength=self.n_identities)
        if not counts.sum():
            raise UserError("no probe has its identity in the gallery, so that none can be identified")
        return counts.cumsum()[:depth] / counts.sum()

    @cached_property
    def open_set(self) -> RocCurve:
        """Scores of open-set identification.

        ``genuine`` are the similarities of mated probes to their mates, -inf where another identity is as similar or
        more; ``impostor`` the highest similarities of the others.

        Raises:
            UserError: All probes are mated, or none is.
        """
        genuine = np.where(self.mate > self.rival, self.mate, -np.inf)[self.mated]
        impostor = self.rival[~self.mated]
        if not len(genuine) or not len(impostor):
            raise UserError(
                f"{len(genuine)} of {len(self.mated)} probes have their identity in the gallery; open-set "
                "identification needs some that do and some that do not"
            )
        return RocCurve(np.sort(genuine), np.sort(impostor))


def search(similarity: Matrix, probe_ids: Identities, gallery_ids: Identities, fusion: Fusion = "max") -> Searches:
    """Compare the similarity of each probe to its own identity with that to all others.

    Args:
        similarity: float [S, G], finite.
        probe_ids: [S] identities.
        gallery_ids: [G] identities.
        fusion: How similarities to several entries of an identity become one.

    Returns:
        One search per probe.

    Raises:
        UserError: Shapes disagree.
    """
    scores, probes, gallery = to_arrays(similarity, probe_ids, gallery_ids)
    identities, scores = _fuse(scores, gallery, fusion)
    order = np.argsort(identities)
    place = np.searchsorted(identities, probes, sorter=order).clip(max=len(identities) - 1)
    column = order[place]
    mated = identities[column] == probes
    mate = np.full(len(probes), -np.inf, scores.dtype)
    rival = np.empty_like(mate)
    rank = np.zeros(len(probes), np.int64)
    for rows in blocks(*scores.shape):
        block = scores[rows].copy()
        own = np.flatnonzero(mated[rows])
        own_column = column[rows][own]
        mate[rows][own] = block[own, own_column]
        block[own, own_column] = -np.inf
        rival[rows] = block.max(axis=1)
        rank[rows] = np.count_nonzero(block > mate[rows, None], axis=1) + 1
    rank[~mated] = 0
    return Searches(mated, mate, rival, rank, len(identities))


def gallery_places(scores: Scores, rows: Integers, columns: Integers) -> Integers:
    """Place, from 1, of gallery entries when a row is sorted by falling similarity, ties in the order of the gallery.

    Args:
        scores: float [S, G].
        rows: int64 [K], probes.
        columns: int64 [K], an entry for each of them.

    Returns:
        int64 [K].
    """
    places = np.empty(len(rows), np.int64)
    number = np.arange(scores.shape[1])
    for pairs in blocks(len(rows), scores.shape[1]):
        block, column = scores[rows[pairs]], columns[pairs, None]
        own = np.take_along_axis(block, column, axis=1)
        places[pairs] = np.count_nonzero((block > own) | ((block == own) & (number <= column)), axis=1)
    return places


def _fuse(scores: Scores, gallery: NDArray[Any], fusion: Fusion) -> tuple[NDArray[Any], Scores]:
    """Identities [I] and similarities to them [S, I]; those given, uncopied, if each has one entry."""
    check_choice("fusion", fusion, get_args(Fusion))
    identities, entries = np.unique(gallery, return_counts=True)
    if len(identities) == len(gallery):
        return gallery, scores
    order, first = np.argsort(gallery, kind="stable"), np.cumsum(entries) - entries
    fused = np.empty((len(scores), len(identities)), scores.dtype)
    reduce = np.max if fusion == "max" else np.median
    for count in np.unique(entries):
        same_count = np.flatnonzero(entries == count)
        columns = order[first[same_count, None] + np.arange(count)]
        fused[:, same_count] = reduce(scores[:, columns], axis=2)
    return identities, fused


def blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of rows that are small enough for the cache."""
    step = max(1, _BLOCK // max(1, n_columns))
    return (slice(start, start + step) for start in range(0, n_rows, step))


def to_arrays(
    similarity: Matrix, probe_ids: Identities, gallery_ids: Identities
) -> tuple[Scores, NDArray[Any], NDArray[Any]]:
    """NumPy arrays of a matrix of similarities and its identities.

    Raises:
        UserError: Shapes disagree, or there is nothing to compare.
    """
    scores, probes, gallery = (
        values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        for values in (similarity, probe_ids, gallery_ids)
    )
    if scores.shape != (*probes.shape, *gallery.shape) or scores.ndim != 2 or not scores.size:
        raise UserError(
            "expected similarities [S, G] of probes [S] and gallery entries [G], none of them empty, but got "
            f"{list(scores.shape)}, {list(probes.shape)} and {list(gallery.shape)}"
        )
    return scores, probes, gallery
