"""Random access to the images of a RecordIO file."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from src.datamodules.decode import BadImage
from src.datamodules.record_scan import RecordTable, scan_records
from src.datamodules.recordio import image_of, join_parts
from src.errors import UserError
from src.files import atomic_write

__all__ = ["RecordReader"]

logger = logging.getLogger(__name__)

_SCHEMA = 1


class RecordReader:
    """The images of a `.rec` file, still encoded, in the order of their keys.

    Meta and identity records of InsightFace files are left out, wherever they stand. Headers are read once, and their
    contents cached in the user's cache folder. Images are read by position without locks: any number of
    threads and forked processes may share a reader, and it can be pickled.

    Args:
        rec: The `.rec` file.
        index: Its index, which may name only some of the records. By default the `.idx` file beside it; where that is
            missing or does not cover the file, the records are numbered anew (see `record_scan.rebuild_index`).

    Attributes:
        path: The `.rec` file.
        keys: int64 [N], record numbers, ascending.
        labels: int32 [N], class numbers.

    Raises:
        UserError: A file is missing or damaged, the index belongs to another file, a label is no class number, or there
            is no image.
    """

    def __init__(self, rec: Path | str, index: Path | str | None = None) -> None:
        self.path = Path(rec)
        if not self.path.is_file():
            raise UserError(f"{rec}: not found; give a .rec file")
        self._table = _load_table(self.path, None if index is None else Path(index))
        self.keys, self.labels = self._table.keys, self._table.label
        if len(self) == 0:
            raise UserError(f"{rec}: holds no image")
        self._check_counts()
        self._open()

    def _open(self) -> None:
        # Reads by position rather than a memory map: one system call per image, which releases the interpreter lock,
        # reads no more than asked from a cold disk, and reports a failing one instead of killing the process.
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115, closed with the reader
        self._descriptor = self._file.fileno()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> tuple[bytes, int]:
        """Encoded image and class number of a row, 0 .. N - 1."""
        return self.content(row), int(self.labels[row])

    @property
    def num_classes(self) -> int:
        """Highest class number plus one."""
        return int(self.labels.max()) + 1

    @property
    def identity_ranges(self) -> np.ndarray | None:
        """int64 [C, 2], first key and one past the last of each identity, if the file stores them.

        They are stored as float32 and thus inexact above 2^24; classes are told by `labels`.
        """
        stored = self._table.identities
        return stored.astype(np.int64) if len(stored) else None

    def content(self, row: int) -> bytes:
        """Encoded image of a row.

        Args:
            row: 0 .. N - 1.

        Raises:
            BadImage: It cannot be read.
        """
        size, start = int(self._table.size[row]), int(self._table.start[row])
        try:
            if size < 0:
                return image_of(join_parts(self._descriptor, start)[0])
            content = os.pread(self._descriptor, size, start)
        except OSError as error:
            raise BadImage(str(error.strerror)) from error
        if len(content) < size:
            raise BadImage(f"{len(content)} of {size} bytes: the file was cut after it was opened")
        return content

    def _check_counts(self) -> None:
        """Compare the images with what the file says of itself; warn where that differs."""
        table = self._table
        first_identity = self.keys[-1] + 1
        counts = np.array([first_identity, first_identity + len(table.identities)], np.float32)
        if len(table.meta) and not np.array_equal(table.meta[:2], counts):
            logger.warning(
                "%s: the meta record counts up to keys %s, the index has %s; the index is taken",
                self.path, table.meta[:2].tolist(), counts.tolist(),
            )  # fmt: skip
        if len(table.identities):
            first = np.flatnonzero(np.diff(self.labels, prepend=-1))
            last = np.append(first[1:], len(self)) - 1
            ranges = np.stack([self.keys[first], self.keys[last] + 1], axis=1).astype(np.float32)
            if not np.array_equal(table.identities, ranges):
                logger.warning("%s: the identity records differ from the images' labels; those are taken", self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_file", "_descriptor")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def _load_table(rec: Path, index: Path | None) -> RecordTable:
    """Take the table from the cache if it is there and of this very file, else scan the file."""
    cache, stamp = _cache_file(rec, index), _stamp(rec, index or rec.with_suffix(".idx"))
    try:
        with np.load(cache, allow_pickle=False) as archive:
            if np.array_equal(archive["stamp"], stamp):
                return RecordTable(**{field.name: archive[field.name] for field in fields(RecordTable)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # no cache, or a damaged one
    table = scan_records(rec, index)
    try:
        with atomic_write(cache) as file:
            np.savez(file, stamp=stamp, **vars(table))
    except OSError as error:
        logger.warning("%s: cannot be written (%s), so %s will be scanned again", cache, error.strerror, rec.name)
    return table


def _cache_file(rec: Path, index: Path | None) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "privface" / "records"
    name = f"{rec.resolve()}\n{index and index.resolve()}"
    return folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.npz"


def _stamp(*paths: Path) -> np.ndarray:
    """Sizes and times of change in nanoseconds; they tell whether files are still the same."""
    facts = [(stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in paths if path.is_file())]
    return np.array([(_SCHEMA, len(facts)), *facts], np.int64)
