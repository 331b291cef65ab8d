"""DRHT files: records of a person's number, a version and a row of words, memory-mapped.

Little-endian: a header of 32 bytes (magic, u16 format version, u16 flags, u32 N, u32 m, u16 q, u16 b, u32 bytes of a
row, 8 zero bytes), then N x u64 pid, N x u32 version, zeros up to a multiple of 64, then N rows. Records are in
ascending order of pid, those of a pid in that of their versions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.models.cancellable.durable import write_file

__all__ = [
    "LOOKUP_TABLE",
    "MIRRORED",
    "PLANES",
    "XORED",
    "Layout",
    "Records",
    "Rows",
    "concatenate",
    "read_records",
    "write_records",
]

LOOKUP_TABLE, XORED, PLANES, MIRRORED = 1, 2, 4, 8
"""Flags: bits come from a lookup table, are XORed with an identifier, lie in planes, hold a mirrored image too."""

_HEADER = struct.Struct("<4sHHIIHHI8x")
_FORMAT_VERSION = 1
_ALIGNMENT = 64
_BLOCK = 1 << 15

Integers = NDArray[np.int64]


class Rows(Protocol):
    """Rows of words that are looked up by position: an array, a memory map, or what computes them when asked."""

    def __getitem__(self, positions: Integers, /) -> NDArray[np.int64]:
        """int64 [K, W] of int64 [K]."""
        ...


@dataclass(frozen=True)
class Layout:
    """What all files of a store have in common.

    Attributes:
        magic: First four bytes.
        flags: Sum of `LOOKUP_TABLE`, `XORED`, `PLANES` and `MIRRORED`.
        m: Symbols of a code.
        q: Alphabet size.
        bits: Bits of a symbol.
        words: Words of 64 bits in a row.
    """

    magic: bytes
    flags: int
    m: int
    q: int
    bits: int
    words: int

    def header(self, records: int) -> bytes:
        """The first 32 bytes of a file."""
        return _HEADER.pack(self.magic, _FORMAT_VERSION, self.flags, records, self.m, self.q, self.bits, 8 * self.words)


@dataclass(frozen=True)
class Records:
    """Some records.

    Attributes:
        pids: int64 [N].
        versions: uint32 [N].
        rows: Of N rows of words.
    """

    pids: NDArray[np.int64]
    versions: NDArray[np.uint32]
    rows: Rows

    def __len__(self) -> int:
        return len(self.pids)

    def take(self, positions: Integers) -> Records:
        """Some of the records; their rows are looked up when they are asked for."""
        return Records(self.pids[positions], self.versions[positions], _Selected(self.rows, positions))


@dataclass(frozen=True)
class _Mapped:
    """Rows of a memory map, which are not copied where they lie one behind the other."""

    rows: NDArray[np.int64]

    def __getitem__(self, positions: Integers) -> NDArray[np.int64]:
        if len(positions) and (np.diff(positions) == 1).all():
            return self.rows[positions[0] : positions[-1] + 1]
        return self.rows[positions]


@dataclass(frozen=True)
class _Selected:
    rows: Rows
    positions: Integers

    def __getitem__(self, positions: Integers) -> NDArray[np.int64]:
        return self.rows[self.positions[positions]]


@dataclass(frozen=True)
class _Joined:
    parts: Sequence[Rows]
    ends: Integers
    words: int

    def __getitem__(self, positions: Integers) -> NDArray[np.int64]:
        joined = np.empty((len(positions), self.words), np.int64)
        part = np.searchsorted(self.ends, positions, side="right")
        starts = np.concatenate([[0], self.ends])
        for number in np.unique(part):
            mine = part == number
            joined[mine] = self.parts[number][positions[mine] - starts[number]]
        return joined


def concatenate(parts: Sequence[Records], words: int) -> Records:
    """All records of ``parts``, of ``words`` words each, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    return Records(
        np.concatenate([np.empty(0, np.int64), *(part.pids for part in parts)]),
        np.concatenate([np.empty(0, np.uint32), *(part.versions for part in parts)]),
        _Joined([part.rows for part in parts], np.cumsum([len(part) for part in parts], dtype=np.int64), words),
    )


def write_records(path: Path, layout: Layout, records: Records, mode: int) -> str:
    """Write a file of records, see `write_file`; they are sorted here and read a block at a time.

    Returns:
        SHA-256 of the file, in hex.
    """
    return write_file(path, _chunks(layout, records), mode)


def read_records(path: Path, layout: Layout, count: int) -> Records:
    """Map a file of records into memory.

    Args:
        path: The file.
        layout: What its header has to say.
        count: How many records it has to have.

    Raises:
        UserError: The file is missing, has another header or another length.
    """
    try:
        if path.stat().st_size != _size(layout, count):
            raise UserError(f"{path}: has {path.stat().st_size} bytes, expected {_size(layout, count)}; {_RESTORE}")
        content = np.asarray(np.memmap(path, np.uint8, "r"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_RESTORE}") from error
    if content[: _HEADER.size].tobytes() != layout.header(count):
        raise UserError(f"{path}: its header is not that of this gallery; {_RESTORE}")
    versions, rows = _offsets(layout, count)[:2]
    return Records(
        content[_HEADER.size : versions].view("<i8"),
        content[versions : versions + 4 * count].view("<u4"),
        _Mapped(content[rows:].view("<i8").reshape(count, layout.words)),
    )


_RESTORE = "restore it from a copy"


def _offsets(layout: Layout, count: int) -> tuple[int, int, int]:
    """Where versions and rows begin, and where the file ends."""
    versions = _HEADER.size + 8 * count
    rows = -(-(versions + 4 * count) // _ALIGNMENT) * _ALIGNMENT
    return versions, rows, rows + 8 * layout.words * count


def _size(layout: Layout, count: int) -> int:
    return _offsets(layout, count)[2]


def _chunks(layout: Layout, records: Records) -> Iterator[bytes | memoryview]:
    order = np.lexsort((records.versions, records.pids))
    versions, rows, _ = _offsets(layout, len(records))
    yield layout.header(len(records))
    yield records.pids[order].astype("<i8", copy=False).data
    yield records.versions[order].astype("<u4", copy=False).data
    yield bytes(rows - versions - 4 * len(records))
    for start in range(0, len(order), _BLOCK):
        yield np.ascontiguousarray(records.rows[order[start : start + _BLOCK]], "<i8").reshape(-1).data
