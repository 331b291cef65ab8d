"""Photographs go into a gallery and into the table of its people."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from src.apps.gallery.people_table import PeopleTable, Row
from src.apps.gallery.photographs import Photograph
from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery

__all__ = ["Enrolment"]

_STEP = 2048
"""Photographs that are written together: writing few takes longer than computing their codes."""


class Enrolment:
    """Enrols photographs into a gallery, each person under one number.

    Args:
        gallery: Open for writing.
        people: Its table.

    Attributes:
        photographs: How many were handed over so far.
        new_people: How many of their people were not in the gallery.

    Raises:
        UserError: The table is of another gallery.
    """

    def __init__(self, gallery: CancellableGallery, people: PeopleTable) -> None:
        self._gallery = gallery
        self._people = people
        self._waiting: list[tuple[list[Photograph], Tensor]] = []
        known = set(gallery.pids)
        self._enrolled = {row.image for row in people if row.pid in known}
        self._pids = {row.person: row.pid for row in people if row.pid in known}
        self.photographs = 0
        self.new_people = 0
        if len(people) and not self._enrolled:
            raise UserError(
                f"out={people.path}: nobody in it is in this gallery, so it is the table of another one, or all of "
                "them were revoked; give another name, or move it away"
            )

    def missing(self, photographs: Sequence[Photograph]) -> list[Photograph]:
        """Those that are not enrolled yet, or whose people were revoked."""
        return [photograph for photograph in photographs if photograph.name not in self._enrolled]

    def add(self, photographs: Sequence[Photograph], codes: Tensor) -> None:
        """Take photographs and their codes uint8 [n, m]; they are enrolled by and by."""
        self._waiting.append((list(photographs), codes))
        self.photographs += len(photographs)
        if sum(len(batch) for batch, _ in self._waiting) >= _STEP:
            self.finish()

    def finish(self) -> None:
        """Enrol what was taken; when this returns it is on the disk, in the gallery and in the table."""
        photographs = [photograph for batch, _ in self._waiting for photograph in batch]
        if not photographs:
            return
        codes = torch.cat([batch for _, batch in self._waiting])
        self._waiting.clear()
        first = {one.person: row for row, one in reversed(list(enumerate(photographs))) if one.person not in self._pids}
        self._pids |= zip(first, self._gallery.enrol(codes[list(first.values())]), strict=True)
        self.new_people += len(first)
        others = sorted(set(range(len(photographs))).difference(first.values()))
        self._gallery.enrol(codes[others], [self._pids[photographs[row].person] for row in others])
        self._people.forget(one.name for one in photographs)
        self._people.add([Row(one.name, one.person, self._pids[one.person]) for one in photographs])
