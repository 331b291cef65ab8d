"""Records in files that are never changed, and the one small file that says which of them count."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from src.errors import UserError
from src.files import sync_folder
from src.models.cancellable.durable import PRIVATE, SHARED, replace_file, wipe
from src.models.cancellable.template_file import Layout, Records, concatenate, read_records, write_records

__all__ = ["INDEX", "RecordStore", "Segment", "StoreIndex"]

INDEX = "index.json"
_MAX_VERSION = (1 << 32) - 1
_SMALLEST_RATIO = 2
_FILE_NAME = r"\d{8}\.drh[ti]"


@dataclass(frozen=True)
class Segment:
    """A file of records: its name, how many it holds, and its SHA-256 in hex."""

    file: str
    records: int
    sha256: str


@dataclass(frozen=True)
class StoreIndex:
    """What counts in a store.

    Attributes:
        schema: Of this file.
        gallery: Random name of the gallery, the same in both of its stores.
        next_file: Number of the next file; no file that ever counted has it, or a higher one.
        next_version: The next version; no record that ever counted has it, or a higher one.
        renewals: Records that took the place of others so far.
        templates_version: Of identifiers: what ``next_version`` of the templates had come to when a call last finished.
            Templates that are not as far are an older copy. Of templates: 1.
        segments: The files that count, the largest first.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid")

    schema: Literal[1]
    gallery: str
    next_file: int
    next_version: int
    renewals: int
    templates_version: int
    segments: tuple[Segment, ...]

    @property
    def records(self) -> int:
        """Number of records."""
        return sum(segment.records for segment in self.segments)

    @classmethod
    def read(cls, folder: Path) -> StoreIndex:
        """Read the index of a store.

        Raises:
            UserError: It is missing or damaged.
        """
        path = folder / INDEX
        try:
            index = _FILE.validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); restore the folder from a copy") from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the whole"
            raise UserError(f"{path}: {key}: {first['msg']}; restore the folder from a copy") from error
        for segment in index.segments:
            if not re.fullmatch(_FILE_NAME, segment.file) or segment.records < 1:
                raise UserError(f"{path}: {segment} is no file of a store; restore the folder from a copy")
        return index


_FILE = TypeAdapter(StoreIndex)


class RecordStore:
    """A folder of records that is changed by whole batches.

    Every change writes one new file and then renames a new index into place: the rename is the moment at which the
    change happens. Before it the new file does not count, after it the replaced files do not; both are leftovers that
    `leftovers` lists if the process dies before it deletes them. Versions are handed out by the store and never twice,
    so that a version names a record.

    A batch takes smaller files along into its own, those of at most twice its records. The files that remain are each
    more than twice as large as the next, so there are few, and a record is rewritten a logarithmic number of times.

    Args:
        folder: Where the files lie.
        layout: Of the files.
        suffix: Of their names.
        used_bits: int64 [W], ones where a row may have bits.
        secret: Whether the files are private and are overwritten before they are deleted.
        alone: Keeps readers out while the index is replaced and old files are deleted.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        suffix: str,
        *,
        used_bits: NDArray[np.int64],
        secret: bool,
        alone: Callable[[], AbstractContextManager],
    ) -> None:
        self.folder = folder
        self.layout = layout
        self.used_bits = used_bits
        self._suffix = suffix
        self._secret = secret
        self._alone = alone

    def create(self, gallery: str) -> None:
        """Make the store empty, whatever is in the folder."""
        self._write(StoreIndex(1, gallery, 1, 1, 0, 1, ()))

    def index(self) -> StoreIndex:
        """Read the index, see `StoreIndex.read`."""
        return StoreIndex.read(self.folder)

    def read(self, segment: Segment) -> Records:
        """Map a file into memory.

        Raises:
            UserError: It is missing, or not what it should be.
        """
        return read_records(self.folder / segment.file, self.layout, segment.records)

    def check_whole(self, segment: Segment) -> None:
        """Read all of a file.

        Raises:
            UserError: It is missing, or has not the content that was written.
        """
        self.read(segment)
        path = self.folder / segment.file
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != segment.sha256:
                raise UserError(f"{path}: not the content that was written; restore it from a copy")

    def records(self) -> list[Records]:
        """Map all files into memory, the largest first."""
        return [self.read(segment) for segment in self.index().segments]

    def add(self, records: Records, instead_of: Sequence[NDArray[np.bool_]] | None = None) -> None:
        """Put records in, durably.

        Args:
            records: At least one; their versions are new.
            instead_of: bool [N] for each file of `records`, which of its records they replace; None only adds.

        Raises:
            UserError: A version was used before.
        """
        if records.versions.min() < self.index().next_version:
            raise UserError(f"{self.folder}: version {records.versions.min()} was used before; none may serve twice")
        self.commit(instead_of, records)

    def commit(
        self,
        drop: Sequence[NDArray[np.bool_]] | None = None,
        add: Records | None = None,
        templates_version: int | None = None,
    ) -> None:
        """Take some records out and put others in, at once and durably.

        Args:
            drop: bool [N] for each file of `records`, which of its records to take out; None keeps all.
            add: What to put in.
            templates_version: See `StoreIndex`; None leaves it as it is.
        """
        index = self.index()
        kept, touched = [], [] if add is None else [add]
        for number, segment in enumerate(index.segments):
            gone = None if drop is None else drop[number]
            if gone is not None and gone.any():
                touched.append(self.read(segment).take(np.flatnonzero(~gone)))
            else:
                kept.append(segment)
        size = sum(map(len, touched))
        while kept and touched and kept[-1].records <= _SMALLEST_RATIO * size:
            size += kept[-1].records
            touched.append(self.read(kept.pop()))
        if size:
            kept.append(self._new_segment(index, concatenate(touched, self.layout.words)))
        changed = replace(
            index,
            next_file=index.next_file + 1,
            next_version=index.next_version if add is None else int(add.versions.max()) + 1,
            renewals=index.renewals + (0 if drop is None or add is None else len(add)),
            templates_version=templates_version or index.templates_version,
            segments=tuple(sorted(kept, key=lambda segment: -segment.records)),
        )
        del touched
        with self._alone():
            self._write(changed)
            self._delete({segment.file for segment in index.segments} - {segment.file for segment in changed.segments})

    def unused_versions(self, count: int) -> NDArray[np.uint32]:
        """uint32 [count], versions that no record has had.

        Raises:
            UserError: There are not that many left.
        """
        first = self.index().next_version
        if first + count > _MAX_VERSION:
            raise UserError(f"{self.folder}: all 2^32 versions of a store are used up; enrol into a new gallery")
        return np.arange(first, first + count, dtype=np.uint32)

    def leftovers(self) -> list[Path]:
        """Files of interrupted changes: what lies in the folder and does not count."""
        counting = {segment.file for segment in self.index().segments}
        pattern = re.compile(rf"{_FILE_NAME}|\..+\.tmp")
        found = (path for path in sorted(self.folder.iterdir()) if pattern.fullmatch(path.name))
        return [path for path in found if path.name not in counting]

    def delete_leftovers(self) -> None:
        """Delete those files."""
        if left := self.leftovers():
            with self._alone():
                self._delete({path.name for path in left})

    def bytes(self) -> int:
        """Size of everything in the folder."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def _new_segment(self, index: StoreIndex, records: Records) -> Segment:
        name = f"{index.next_file:08}.{self._suffix}"
        mode = PRIVATE if self._secret else SHARED
        return Segment(name, len(records), write_records(self.folder / name, self.layout, records, mode))

    def _write(self, index: StoreIndex) -> None:
        replace_file(self.folder / INDEX, _FILE.dump_json(index, indent=2) + b"\n", PRIVATE if self._secret else SHARED)

    def _delete(self, names: set[str]) -> None:
        for name in sorted(names):
            if self._secret:
                wipe(self.folder / name)
            else:
                (self.folder / name).unlink()
        if names:
            sync_folder(self.folder)
