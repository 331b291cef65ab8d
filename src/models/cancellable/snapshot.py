"""A gallery as it was at one moment, for searching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from src.models.cancellable.identifier_store import IdentifierStore
from src.models.cancellable.record_store import StoreIndex
from src.models.cancellable.template_file import Records, concatenate
from src.models.cancellable.template_store import TemplateStore
from src.ops.hamming import Metric, hamming_topk

__all__ = ["Nearest", "Snapshot", "counterparts", "identifier_places"]

_BLOCK = 1 << 17
"""Templates searched together: few enough for copies of them to be small."""
_FAR = np.iinfo(np.int32).max

Integers = NDArray[np.int64]
Distances = NDArray[np.int32]


@dataclass(frozen=True)
class Nearest:
    """The people nearest to each query, by distance and, where that is equal, by pid; -1 where there are no more.

    Attributes:
        distances: int32 [Q, k].
        pids: int64 [Q, k].
    """

    distances: Distances
    pids: Integers


class Snapshot:
    """Both stores, memory-mapped, and which identifier belongs to which template.

    Its files may be read only while the writer is kept out, see `SharedLock`, and as long as the indexes are the same:
    an identifier that was renewed or revoked is overwritten.

    Args:
        templates: The one store.
        identifiers: The other.
    """

    def __init__(self, templates: TemplateStore, identifiers: IdentifierStore) -> None:
        self.indexes: tuple[StoreIndex, StoreIndex] = (templates.index(), identifiers.index())
        self._templates = templates.records()
        self._identifiers = identifiers.identifiers()
        self._places = identifier_places(self._templates, self._identifiers)

    @property
    def pids(self) -> Integers:
        """int64 [people], everybody, in ascending order."""
        return self._people[0]

    @cached_property
    def skipped(self) -> int:
        """Templates without an identifier."""
        return sum(int(np.count_nonzero(places < 0)) for places in self._places)

    def search(self, queries: Integers, k: int, metric: Metric, planes: int) -> Nearest:
        """The people nearest to each query, each by the nearest of his templates.

        Args:
            queries: int64 [Q, W].
            k: How many people to find.
            metric: See `hamming_topk`.
            planes: See there.
        """
        # Among this many templates there are k people, whoever the others belong to. It takes memory and time where one
        # of the people has thousands of templates; a few each cost nothing.
        depth = k * int(self._people[1].max(initial=1))
        distances = np.empty((len(queries), 0), np.int32)
        pids = np.empty((len(queries), 0), np.int64)
        for records, places in zip(self._templates, self._places, strict=True):
            comparable = np.flatnonzero(places >= 0)
            for start in range(0, len(comparable), _BLOCK):
                block = comparable[start : start + _BLOCK]
                key = self._identifiers.rows[places[block]]
                found = hamming_topk(records.rows[block], queries, depth, key=key, metric=metric, planes=planes)
                distances = np.concatenate([distances, found.distances.numpy()], axis=1)
                pids = np.concatenate([pids, records.pids[block[found.ids.numpy()]]], axis=1)
                distances, pids = _nearest(distances, pids, depth)
        distances, pids = _nearest(_once_each(distances, pids), pids, k)
        return _filled(distances, pids, k)

    @cached_property
    def _people(self) -> tuple[Integers, Integers]:
        """int64 [people] each: pids in ascending order, and how many templates they have."""
        pids = [records.pids for records in self._templates]
        return np.unique(np.concatenate([np.empty(0, np.int64), *pids]), return_counts=True)


def identifier_places(templates: Sequence[Records], identifiers: Records) -> list[Integers]:
    """Where ``identifiers`` has those of templates: int64 [N] for each of ``templates``, -1 where it has none."""
    order = np.argsort(identifiers.versions, kind="stable")
    versions = identifiers.versions[order]
    return [_places(records, identifiers.pids, versions, order) for records in templates]


def counterparts(
    templates: TemplateStore, identifiers: IdentifierStore
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
    """Which templates have no identifier, and which identifiers no template: bool [N] for each file of the stores."""
    ciphered, keys = templates.records(), identifiers.records()
    all_keys, all_ciphered = concatenate(keys, identifiers.layout.words), concatenate(ciphered, templates.layout.words)
    return (
        [places < 0 for places in identifier_places(ciphered, all_keys)],
        [places < 0 for places in identifier_places(keys, all_ciphered)],
    )


def _places(records: Records, pids: Integers, versions: NDArray[np.uint32], order: Integers) -> Integers:
    if not len(order):
        return np.full(len(records), -1, np.int64)
    nearest = np.searchsorted(versions, records.versions).clip(max=len(order) - 1)
    places = order[nearest]
    return np.where((versions[nearest] == records.versions) & (pids[places] == records.pids), places, -1)


def _nearest(distances: Distances, pids: Integers, k: int) -> tuple[Distances, Integers]:
    order = np.lexsort((pids, distances), axis=1)[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(pids, order, axis=1)


def _once_each(distances: Distances, pids: Integers) -> Distances:
    """Distances with all but the least of every person in a row put out of reach."""
    order = np.lexsort((distances, pids), axis=1)
    by_person = np.take_along_axis(pids, order, axis=1)
    again = np.zeros(pids.shape, bool)
    np.put_along_axis(again, order[:, 1:], by_person[:, 1:] == by_person[:, :-1], axis=1)
    return np.where(again, _FAR, distances).astype(np.int32)


def _filled(distances: Distances, pids: Integers, k: int) -> Nearest:
    """Rows of k, those who are out of reach replaced by nobody."""
    missing = ((0, 0), (0, k - distances.shape[1]))
    distances, pids = np.pad(distances, missing, constant_values=_FAR), np.pad(pids, missing)
    nobody = distances == _FAR
    return Nearest(np.where(nobody, -1, distances).astype(np.int32), np.where(nobody, -1, pids))
