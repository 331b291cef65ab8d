"""The table that knows who the numbers of a gallery are: image, person, pid."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.apps.gallery.pids import to_pid
from src.errors import UserError
from src.files import atomic_write

__all__ = ["PeopleTable", "Row"]

_HEADER = ["image", "person", "pid"]


@dataclass(frozen=True)
class Row:
    """A photograph whose template is in the gallery.

    Attributes:
        image: Path of the photograph as it was enrolled.
        person: Who is on it.
        pid: The person's number in the gallery.
    """

    image: str
    person: str
    pid: int


class PeopleTable:
    """A CSV file of rows, one per image.

    Args:
        path: The file; it need not exist.

    Raises:
        UserError: It is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows, self._is_written = _read(path) if path.exists() else ([], False)
        self._rows = {row.image: row for row in rows}

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def forget(self, images: Iterable[str]) -> None:
        """Drop the rows of some images, if there are any; they leave the file with the next `add`."""
        for image in images:
            if self._rows.pop(image, None) is not None:
                self._is_written = False

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows; when this returns they are on the disk."""
        self._rows |= {row.image: row for row in rows}
        if not self._is_written:
            with atomic_write(self.path, "w") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(_HEADER)
                writer.writerows((row.image, row.person, row.pid) for row in self)
            self._is_written = True
            return
        # Written anew for every few images, a table of a million would take longer than the images.
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows((row.image, row.person, row.pid) for row in rows)
            file.flush()
            os.fsync(file.fileno())


def _read(path: Path) -> tuple[list[Row], bool]:
    """The rows of a table, and whether its last line has an end: one that was being written in a crash has none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a CSV file {','.join(_HEADER)}") from error
    is_whole = text.endswith("\n")
    if not is_whole and lines and not (len(lines[-1]) == len(_HEADER) and lines[-1][2].isdigit()):
        lines.pop()
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
