"""Photographs go into a gallery and into the table of its people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from src.apps.gallery.people_table import Announcement, PeopleTable, Row
from src.apps.gallery.photographs import Photograph
from src.errors import UserError
from src.models.cancellable.gallery import CancellableGallery
from src.models.cancellable.record_store import StoreIndex

__all__ = ["Enrolment"]

_STEP = 2048
"""Photographs that are written together: writing few takes longer than computing their codes."""


class Enrolment:
    """Enrols photographs into a gallery, each person under one number.

    It first finishes what an interrupted enrolment left behind. People of the table who are no longer in the gallery
    were revoked; neither they nor their photographs are enrolled again.

    Args:
        gallery: Open for writing.
        templates: Folder of its templates.
        people: Its table.

    Attributes:
        photographs: How many were handed over so far.
        new_people: How many of their people were not in the gallery.

    Raises:
        UserError: The table is of another gallery, or it cannot be told what became of an interrupted enrolment.
    """

    def __init__(self, gallery: CancellableGallery, templates: Path, people: PeopleTable) -> None:
        self._gallery = gallery
        self._templates = templates
        self._people = people
        self._waiting: list[tuple[list[Photograph], Tensor]] = []
        known = set(gallery.pids)
        self._settle(known)
        self._images = {row.image for row in people}
        self._pids = {row.person: row.pid for row in people if row.pid in known}
        self._revoked = {row.person for row in people if row.pid not in known}
        self.photographs = 0
        self.new_people = 0
        if len(people) and not self._pids:
            raise UserError(
                f"out={people.path}: nobody in it is in this gallery, so it is the table of another one, or all of "
                "them were revoked; give another name, or delete the rows of those whom to enrol again"
            )

    def missing(self, photographs: Sequence[Photograph]) -> list[Photograph]:
        """Those that are not enrolled yet and whose people were not revoked."""
        return [one for one in photographs if one.path not in self._images and one.person not in self._revoked]

    def revoked(self, photographs: Sequence[Photograph]) -> list[Photograph]:
        """Those that are left out because their people were revoked."""
        return [one for one in photographs if one.person in self._revoked]

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
        new = list(dict.fromkeys(one.person for one in photographs if one.person not in self._pids))
        self._pids |= zip(new, self._gallery.draw_pids(len(new)), strict=True)
        self.new_people += len(new)
        rows = tuple(Row(one.path, one.person, self._pids[one.person]) for one in photographs)
        index = StoreIndex.read(self._templates)
        self._people.announce(Announcement(index.gallery, index.next_version, rows))
        self._gallery.enrol(codes, [row.pid for row in rows])
        self._people.confirm()

    def _settle(self, known: set[int]) -> None:
        """Find out whether the rows that are still announced were enrolled."""
        pending = self._people.pending
        if pending is None:
            return
        path = self._people.pending_path
        index = StoreIndex.read(self._templates)
        if pending.gallery != index.gallery:
            raise UserError(
                f"{path}: is of an interrupted enrolment into another gallery; enrol into that one first, give another "
                "out, or delete the file"
            )
        new = {row.pid for row in pending.rows}.difference(row.pid for row in self._people)
        if new & known:  # all rows are enrolled at one moment
            self._people.confirm()
        elif new and pending.next_version != index.next_version:
            raise UserError(
                f"{path}: it cannot be told whether its {len(new)} people were revoked or, because the enrolment was "
                "interrupted, never were in the gallery, which was changed since. Delete the file, and the photographs "
                "of those whom not to enrol"
            )
        else:
            # If these are further photographs of known people, they may be in the gallery; a second template of the
            # same photograph and person changes no answer.
            self._people.withdraw()
