"""The table that knows who the numbers of a gallery are: image, person, pid.

**After a kill** at any point every template of the gallery has a name. Rows are announced in a file beside the table
before their templates are enrolled, and get into the table after it:

* `PeopleTable.announce` writes ``people.csv.pending``,
* the gallery enrols all of the templates or none,
* `PeopleTable.confirm` adds the rows to ``people.csv``, then deletes the announcement.

So a row of the table is that of somebody who was enrolled: one whose number the gallery does not have was revoked. Of
rows that are still announced :mod:`src.apps.gallery.enrolment` finds out whether they were enrolled.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from src.apps.gallery.output import private_write
from src.apps.gallery.pids import to_pid
from src.errors import UserError
from src.models.cancellable.durable import PRIVATE, sync_folder

__all__ = ["Announcement", "PeopleTable", "Row"]

_HEADER = ["image", "person", "pid"]
_PENDING = ".pending"


@dataclass(frozen=True)
class Row:
    """A photograph whose template is in the gallery.

    Attributes:
        image: Path of the photograph, absolute.
        person: Who is on it.
        pid: The person's number in the gallery.
    """

    image: str
    person: str
    pid: int


@dataclass(frozen=True)
class Announcement:
    """Rows of templates that are about to be enrolled.

    Attributes:
        gallery: Name of the gallery.
        next_version: What its next version was before.
        rows: The rows.
    """

    gallery: str
    next_version: int
    rows: tuple[Row, ...]


_FILE = TypeAdapter(Announcement)


class PeopleTable:
    """A CSV file of rows, one per image, and the rows that are announced.

    Args:
        path: The file; it need not exist.

    Attributes:
        path: The file.
        pending_path: File of the announced rows.
        pending: The announced rows, if there are any.

    Raises:
        UserError: It is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending_path = path.with_name(path.name + _PENDING)
        self.pending = _read_announcement(self.pending_path) if self.pending_path.exists() else None
        # Rows are on the disk before their announcement goes, so without one nothing can be torn.
        rows, self._is_whole = _read(path, may_be_torn=self.pending is not None) if path.exists() else ([], False)
        self._rows = {row.image: row for row in rows}

    @classmethod
    def existing(cls, path: Path) -> PeopleTable:
        """A table that enrolment wrote.

        Raises:
            UserError: There is none, or it is no such table.
        """
        table = cls(path)
        if not path.exists() and table.pending is None:
            raise UserError(f"people={path}: there is no such file; give the table that enrol wrote, or leave it out")
        return table

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def announce(self, announcement: Announcement) -> None:
        """Write rows down before they are enrolled; when this returns they are on the disk."""
        with private_write(self.pending_path) as file:
            file.write(_FILE.dump_json(announcement).decode())
        sync_folder(self.pending_path.parent)
        self.pending = announcement

    def confirm(self) -> None:
        """Add the announced rows to the table; when this returns they are on the disk."""
        if self.pending is not None:
            self._add(row for row in self.pending.rows if row.image not in self._rows)
            self.withdraw()

    def withdraw(self) -> None:
        """Forget the announced rows."""
        self.pending_path.unlink(missing_ok=True)
        sync_folder(self.pending_path.parent)
        self.pending = None

    def _add(self, rows: Iterable[Row]) -> None:
        added = {row.image: row for row in rows}
        self._rows |= added
        if not self._is_whole:
            with private_write(self.path) as file:
                _write(file, [_HEADER, *_fields(self)])
            sync_folder(self.path.parent)
            self._is_whole = True
            return
        # Written anew for every few images, a table of a million would take longer than the images.
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            os.fchmod(file.fileno(), PRIVATE)
            _write(file, _fields(added.values()))
            file.flush()
            os.fsync(file.fileno())


def _fields(rows: Iterable[Row]) -> list[list[str]]:
    return [[row.image, row.person, str(row.pid)] for row in rows]


def _write(file: IO, lines: Sequence[Sequence[str]]) -> None:
    csv.writer(file, lineterminator="\n").writerows(lines)


def _read(path: Path, *, may_be_torn: bool) -> tuple[list[Row], bool]:
    """The rows of a table, and whether its last line has an end.

    Args:
        path: The table.
        may_be_torn: Leave out a last row of which only a part was written in a crash.
    """
    try:
        content = path.read_bytes()
        is_whole = content.endswith(b"\n")
        text = content[: content.rfind(b"\n") + 1 if may_be_torn else None].decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a CSV file {','.join(_HEADER)}") from error
    if may_be_torn and lines and len(lines[-1]) != len(_HEADER):  # torn within a quoted field that has a line break
        lines.pop()
        is_whole = False
    if lines[:1] != [_HEADER]:
        raise UserError(f"{path}: the first line is not {','.join(_HEADER)}, so it is no table of people")
    rows: dict[str, Row] = {}
    for number, fields in enumerate(lines[1:], start=2):
        place = f"{path}, row {number}"
        if len(fields) != len(_HEADER):
            raise UserError(f"{place}: expected {','.join(_HEADER)}, found {fields}")
        if fields[0] in rows:
            raise UserError(f"{place}: the image {fields[0]!r} occurs twice; keep one row of it")
        rows[fields[0]] = Row(fields[0], fields[1], to_pid(fields[2], place))
    return list(rows.values()), is_whole


def _read_announcement(path: Path) -> Announcement:
    try:
        return _FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); enrol wrote it, restore it from a copy, or delete it if nothing was "
            "enrolled last"
        ) from error
