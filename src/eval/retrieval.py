"""Retrieval: the images of a gallery that are most similar to a probe, and whether they show its person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.matching import Matcher

__all__ = ["Retrieved", "retrieve"]

Integers = NDArray[np.int64]

_BLOCK = 1 << 24  # similarities held at once, 64 MB


@dataclass(frozen=True)
class Retrieved:
    """The K images of a gallery that are most similar to each of S probes, most similar first, ties in its order.

    Attributes:
        columns: int64 [S, K], their numbers in the gallery.
        similarities: float32 [S, K].
        relevant: bool [S, K], whether they show the probe's person.
        n_relevant: int64 [S], images of that person in the whole gallery, at least 1.
    """

    columns: Integers
    similarities: NDArray[np.float32]
    relevant: NDArray[np.bool_]
    n_relevant: Integers

    def average_precision(self) -> NDArray[np.float64]:
        """Mean precision [S] at the places of the relevant images among the K; 0 where there is none."""
        hits = self.relevant.cumsum(axis=1)
        precision = hits / np.arange(1, hits.shape[1] + 1)
        return (precision * self.relevant).sum(axis=1) / np.maximum(hits[:, -1], 1)

    def recognition(self, rank: int) -> NDArray[np.float64]:
        """Share [S] of the first ``rank`` images that are relevant, of as many as can be."""
        return self.relevant[:, :rank].sum(axis=1) / np.minimum(rank, self.n_relevant)

    def found(self, rank: int) -> NDArray[np.bool_]:
        """Whether a relevant image is among the first ``rank``, bool [S]."""
        return np.any(self.relevant[:, :rank], axis=1)


def retrieve(
    probes: Tensor, probe_ids: Integers, gallery: Tensor, gallery_ids: Integers, depth: int, matcher: Matcher
) -> Retrieved:
    """Search a gallery for each probe, some probes at a time.

    Args:
        probes: [S, D] templates.
        probe_ids: int64 [S] whom they show.
        gallery: [G, D] templates.
        gallery_ids: int64 [G] whom they show.
        depth: How many images are retrieved, K, or all G if there are fewer.
        matcher: Compares templates.

    Raises:
        UserError: The gallery has no image of a probe's person.
    """
    people, counts = np.unique(gallery_ids, return_counts=True)
    place = np.searchsorted(people, probe_ids).clip(max=len(people) - 1)
    if missing := int((people[place] != probe_ids).sum()):
        raise UserError(f"{missing} of {len(probe_ids)} probes show people of whom the gallery has no image")
    compare = matcher.enrol(gallery)
    found = [_highest(compare(block), depth) for block in probes.split(max(1, _BLOCK // len(gallery)))]
    columns, similarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Retrieved(columns, similarities, gallery_ids[columns] == probe_ids[:, None], counts[place])


def _highest(similarities: NDArray[np.float32], count: int) -> tuple[Integers, NDArray[np.float32]]:
    """Columns [S, K] of the highest of similarities [S, G], falling, ties in their order, and their values."""
    count = min(count, similarities.shape[1])
    least = -np.partition(-similarities, count - 1, axis=1)[:, count - 1]
    # Codes often tie: all that reach the last place are sorted, by row first.
    rows, columns = np.nonzero(similarities >= least[:, None])
    order = np.lexsort((columns, -similarities[rows, columns], rows))
    first = np.searchsorted(rows, np.arange(len(similarities)))  # of each row; `nonzero` gives them ascending
    chosen = columns[order[first[:, None] + np.arange(count)]]
    return chosen, np.take_along_axis(similarities, chosen, axis=1)
