"""The bytes of MXNet RecordIO: a `.rec` file of labelled images and its `.idx` file of positions, without MXNet.

A record is a header (`u32` number of labels, `f32` label, `u64` id, `u64` second id), that many further `f32` labels,
and an encoded image. It is stored as one part: magic, length and kind, bytes, zeros up to a multiple of 4. Where the
magic itself occurs at a multiple of 4 inside a record, the record is split there into several parts without it, so that
in the whole file an aligned magic is always the beginning of a part. All numbers are little-endian.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from src.datamodules.decode import BadImage
from src.errors import UserError
from src.files import atomic_write

__all__ = [
    "FIRST",
    "LENGTH_BITS",
    "MAGIC",
    "MAX_LABEL",
    "MAX_LENGTH",
    "WHOLE",
    "image_of",
    "iter_parts",
    "join_parts",
    "pack",
    "read_index",
    "record_offsets",
    "write_index",
]

MAGIC = 0xCED7230A
"""First word of every part."""
LENGTH_BITS = 29
"""The second word of a part holds its length in the low bits and its kind above them."""
MAX_LENGTH = (1 << LENGTH_BITS) - 1
"""Longest part in bytes."""
WHOLE, FIRST, MIDDLE, LAST = range(4)
"""Kinds of part."""
MAX_LABEL = 1 << 24
"""Labels are stored as float32, which holds every whole number up to this one."""

_MAGIC_BYTES = struct.pack("<I", MAGIC)
_PART = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LINES_AT_ONCE = 1 << 16


def pack(label: float | Sequence[float], content: bytes, key: int) -> bytes:
    """Make the bytes of one record, ready to be appended to a `.rec` file.

    Records may be packed anywhere and joined in any order; what is appended at byte `offset` belongs in the index as
    `key`, `offset`. See `record_writer.closing_records` for the records an InsightFace file ends with.

    Args:
        label: A number is stored in the header (layout im2rec); a sequence behind it (layout insightface:
            `[class, aligned]`).
        content: Encoded image; empty for meta and identity records.
        key: Record number, stored as the id in the header.

    Returns:
        One or more parts; the length is a multiple of 4.

    Raises:
        UserError: A label beyond `MAX_LABEL`, or a record of 512 MiB or more.
    """
    if isinstance(label, Sequence):
        highest, header = max(label), struct.pack(f"<IfQQ{len(label)}f", len(label), 0, key, 0, *label)
    else:
        highest, header = label, _HEADER.pack(0, label, key, 0)
    if highest > MAX_LABEL:
        raise UserError(
            f"record {key}: label {highest}, expected at most {MAX_LABEL}: a .rec file stores labels as float32, which "
            "cannot tell larger numbers apart. Use fewer classes, or shards."
        )
    payload = header + content
    if len(payload) > MAX_LENGTH:
        raise UserError(f"record {key}: {len(payload)} bytes, expected at most {MAX_LENGTH}; encode a smaller image")
    parts = _split(payload)
    if len(parts) == 1:
        return _part(WHOLE, payload)
    kinds = [FIRST, *[MIDDLE] * (len(parts) - 2), LAST]
    return b"".join(map(_part, kinds, parts))


def _split(payload: bytes) -> list[bytes]:
    """Cut a record at, and drop, every aligned magic."""
    parts, start = [], 0
    position = payload.find(_MAGIC_BYTES)
    while position >= 0:
        if position % 4 == 0:
            parts.append(payload[start:position])
            start = position + 4
        position = payload.find(_MAGIC_BYTES, position + 4)  # its bytes differ, so it cannot overlap itself
    parts.append(payload[start:])
    return parts


def _part(kind: int, content: bytes) -> bytes:
    length = len(content)
    return _PART.pack(MAGIC, kind << LENGTH_BITS | length) + content + bytes(-length % 4)


def join_parts(descriptor: int, offset: int) -> tuple[bytes, int]:
    """Read one record of any number of parts and put the dropped magics back.

    Args:
        descriptor: Of the open `.rec` file.
        offset: First byte of the record.

    Returns:
        The record (header, labels, image) and the position of the byte after its padding.

    Raises:
        BadImage: The record is cut short or damaged.
    """
    parts: list[bytes] = []
    position, kind = offset, FIRST
    while kind not in (WHOLE, LAST):
        header = os.pread(descriptor, _PART.size, position)
        magic, word = _PART.unpack(header) if len(header) == _PART.size else (0, 0)
        kind, length = word >> LENGTH_BITS, word & MAX_LENGTH
        content = os.pread(descriptor, length, position + _PART.size)
        expected = (MIDDLE, LAST) if parts else (WHOLE, FIRST)
        if magic != MAGIC or kind not in expected or len(content) < length:
            raise BadImage(f"the record at byte {offset} is cut short or damaged")
        parts.append(content)
        position += _PART.size + length + -length % 4
    return _MAGIC_BYTES.join(parts), position


def image_of(record: bytes) -> bytes:
    """Cut header and labels off a record."""
    (num_labels,) = struct.unpack_from("<I", record)
    return record[_HEADER.size + 4 * num_labels :]


def iter_parts(path: Path | str) -> Iterator[tuple[int, int, int]]:
    """Walk through a `.rec` file by the headers of its parts.

    Yields:
        First byte, kind (`WHOLE`, `FIRST`, `MIDDLE` or `LAST`) and length in bytes of every part.

    Raises:
        UserError: The file is missing, empty, truncated or damaged.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            size, offset, inside = len(view), 0, False
            while offset < size:
                magic, word = _PART.unpack(view[offset : offset + _PART.size].ljust(_PART.size, b"\0"))
                kind, length = word >> LENGTH_BITS, word & MAX_LENGTH
                end = offset + _PART.size + length + -length % 4
                expected = (MIDDLE, LAST) if inside else (WHOLE, FIRST)
                inside = kind in (FIRST, MIDDLE)
                if magic != MAGIC or kind not in expected or end > size or (inside and end == size):
                    raise UserError(
                        f"{path}: no whole record at byte {offset} of {size}: truncated, damaged or no record file; "
                        "get it again"
                    )
                yield offset, kind, length
                offset = end
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a record file ({error}); give a .rec file") from error


def record_offsets(path: Path | str) -> np.ndarray:
    """First byte of every record of a `.rec` file in file order, int64 [M], found without an index.

    Raises:
        UserError: The file is missing, empty, truncated or damaged.
    """
    offsets = array("q", (offset for offset, kind, _ in iter_parts(path) if kind in (WHOLE, FIRST)))
    return np.frombuffer(offsets, np.int64)


def read_index(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read a `.idx` file: a line `key <tab> offset` per record, in any order.

    Returns:
        Keys and offsets, int64 [M], in the order of the lines.

    Raises:
        UserError: Missing or malformed file, or a key that occurs twice.
    """
    try:
        numbers = np.fromstring(Path(path).read_bytes(), np.int64, sep=" ")  # any white space separates
        keys, offsets = numbers.reshape(-1, 2).T
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not an index of records ({error}); expected lines `key <tab> offset`. Delete it and the records "
            "are numbered anew."
        ) from error
    ordered = np.sort(keys)
    if (twice := ordered[1:][ordered[1:] == ordered[:-1]]).size:
        raise UserError(f"{path}: the key {twice[0]} occurs twice; delete the file and the records are numbered anew")
    return keys, offsets


def write_index(path: Path | str, keys: np.ndarray, offsets: np.ndarray) -> None:
    """Write a `.idx` file, whole or not at all.

    Args:
        path: File to write.
        keys: int [M], record numbers, in the order the lines shall have.
        offsets: int [M], first byte of each record.
    """
    with atomic_write(path, "w") as file:
        for start in range(0, len(keys), _LINES_AT_ONCE):
            rows = slice(start, start + _LINES_AT_ONCE)
            lines = zip(keys[rows].tolist(), offsets[rows].tolist(), strict=True)
            file.write("".join(f"{key}\t{offset}\n" for key, offset in lines))
