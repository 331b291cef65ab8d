"""Reading the table of contents of a RecordIO file from the headers of its records."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from src.datamodules.decode import BadImage
from src.datamodules.recordio import (
    FIRST,
    LENGTH_BITS,
    MAGIC,
    MAX_LABEL,
    MAX_LENGTH,
    WHOLE,
    join_parts,
    read_index,
    record_offsets,
    write_index,
)
from src.errors import UserError

__all__ = ["RecordTable", "rebuild_index", "scan_records"]

logger = logging.getLogger(__name__)

_RECORDS_AT_ONCE = 1 << 18
_PART_BYTES, _HEADER_BYTES = 8, 24
_WORDS = 10  # of a record: magic, length, number of labels, label, two 64-bit ids, first two labels behind the header
_ROW = np.dtype(
    [
        ("start", np.int64), ("end", np.int64), ("size", np.int32), ("split", bool),
        ("flag", np.uint32), ("labels", np.float32, 2),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class RecordTable:
    """Where the images of a RecordIO file lie, in the order of their keys, and what its other records say.

    Attributes:
        keys: int64 [N], record numbers, ascending.
        start: int64 [N], first byte of the image; of the record where that is split.
        size: int32 [N], length of the image in bytes; -1 where the record is split.
        label: int32 [N], class number.
        meta: float32 [2], first identity key and one past the last, as far as float32 can tell; [0] if not stored.
        identities: float32 [C, 2], first image key and one past the last of each identity; C is 0 if not stored.
    """

    keys: np.ndarray
    start: np.ndarray
    size: np.ndarray
    label: np.ndarray
    meta: np.ndarray
    identities: np.ndarray


def scan_records(rec: Path, index: Path | None = None) -> RecordTable:
    """Read the headers of all records, vectorised and in file order.

    A record is no image if it has two or more labels and nothing behind them: key 0 is then the meta record and all
    others are identity records. Everything else is an image of the class that its first label says.

    Args:
        rec: The `.rec` file.
        index: Its index, which may name only some of the records. By default the `.idx` file beside `rec`; where that
            is missing or does not cover the whole file, the records are numbered by walking through it.

    Raises:
        UserError: A file is missing or damaged, the index belongs to another file, a label is no class number.
    """
    beside = rec.with_suffix(".idx")
    if index is None and not beside.is_file():
        logger.warning("%s: not found, so the records are numbered anew", beside)
        keys, offsets, rows = _walk(rec)
    else:
        keys, offsets, rows = _read_by_index(rec, index or beside)
        if index is None and not _covers(offsets, rows, rec):
            logger.warning("%s: does not list all records of %s, so they are numbered anew", beside, rec.name)
            keys, offsets, rows = _walk(rec)
    order = np.argsort(keys)
    return _tabulate(rec, keys[order], offsets[order], rows[order])


def rebuild_index(rec: Path | str) -> Path:
    """Write the `.idx` file of a `.rec` file that lacks it, or has a wrong one.

    Images are numbered in file order: from 1 if there are meta and identity records (the first of those gets key 0,
    the others go on from the last image), else from 0.

    Returns:
        The file written.

    Raises:
        UserError: The `.rec` file is missing, empty, truncated or damaged.
    """
    rec = Path(rec)
    keys, offsets, _ = _walk(rec)
    write_index(rec.with_suffix(".idx"), keys, offsets)
    return rec.with_suffix(".idx")


def _walk(rec: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the records of a file; return keys, offsets and headers in file order."""
    offsets = record_offsets(rec)
    rows = _read_headers(rec, offsets, "the walk through the file")
    image = _is_image(rows)
    if image.all():
        return np.arange(len(rows)), offsets, rows
    keys = np.where(image, np.cumsum(image), image.sum() + np.cumsum(~image) - 1)
    keys[image.argmin()] = 0
    return keys, offsets, rows


def _read_by_index(rec: Path, index: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keys, offsets and headers of the records that an index names, in file order."""
    keys, offsets = read_index(index)
    order = np.argsort(offsets, kind="stable")
    keys, offsets = keys[order], offsets[order]
    return keys, offsets, _read_headers(rec, offsets, str(index))


def _covers(offsets: np.ndarray, rows: np.ndarray, rec: Path) -> bool:
    """Whether records follow one another from the first byte to the last."""
    return np.array_equal(np.append(offsets, rec.stat().st_size), np.append(0, rows["end"]))


def _is_image(rows: np.ndarray) -> np.ndarray:
    return (rows["flag"] < 2) | (rows["size"] > 0)


def _read_headers(rec: Path, offsets: np.ndarray, index: str) -> np.ndarray:
    """Read the header of the record at each offset; return `_ROW` [M]."""
    rows = np.empty(len(offsets), _ROW)
    try:
        with open(rec, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check(rec, index, offsets, (offsets < 0) | (offsets + _PART_BYTES + _HEADER_BYTES > size), "the file ends")
            words = np.asarray(np.memmap(file, "<u4", "r", shape=(size // 4,))) if size >= 4 else np.empty(0, "<u4")
            chunks = range(0, len(offsets), _RECORDS_AT_ONCE)
            for begin in track(chunks, f"reading {rec.name}", transient=True, console=Console(stderr=True)):
                part = slice(begin, begin + _RECORDS_AT_ONCE)
                rows[part] = _parse_headers(rec, index, offsets[part], words, file.fileno(), size)
    except OSError as error:
        raise UserError(f"{rec}: cannot be read ({error.strerror}); give a .rec file") from error
    return rows


def _parse_headers(
    rec: Path, index: str, offsets: np.ndarray, words: np.ndarray, descriptor: int, size: int
) -> np.ndarray:
    # A record without labels may end the file before the tenth word; the clipped ones are then not looked at.
    head = words.take(offsets[:, None] // 4 + np.arange(_WORDS), mode="clip")
    kind, length = head[:, 1] >> LENGTH_BITS, (head[:, 1] & MAX_LENGTH).astype(np.int64)
    wrong = (offsets % 4 != 0) | (head[:, 0] != MAGIC) | ((kind != WHOLE) & (kind != FIRST))
    _check(rec, index, offsets, wrong, "no record begins")
    begin = offsets + _PART_BYTES
    end = begin + length + -length % 4
    split = kind == FIRST
    for i in np.flatnonzero(split):
        try:
            record, end[i] = join_parts(descriptor, int(offsets[i]))
        except BadImage as error:
            raise UserError(f"{rec}: {error}; get the file again") from error
        head[i, 2:] = np.frombuffer(record[: 4 * _WORDS - _PART_BYTES].ljust(4 * _WORDS - _PART_BYTES, b"\0"), "<u4")
        length[i] = len(record)
    content = length - _HEADER_BYTES - 4 * head[:, 2].astype(np.int64)
    _check(rec, index, offsets, content < 0, "a record too short for its labels begins")
    _check(rec, index, offsets, end > size, f"a record begins that ends past the {size} bytes of the file")
    rows = np.empty(len(offsets), _ROW)
    rows["start"], rows["end"], rows["size"] = begin + length - content, end, content
    rows["split"], rows["flag"] = split, head[:, 2]
    rows["labels"] = head.view("<f4")[:, 8:10]
    rows["labels"][:, 0] = np.where(head[:, 2] == 0, head.view("<f4")[:, 3], rows["labels"][:, 0])
    return rows


def _check(rec: Path, index: str, offsets: np.ndarray, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise UserError(
            f"{rec}: {what} at byte {offsets[wrong][0]}, where a record should be by {index}. Either the file is "
            "truncated or damaged, or the index belongs to another one: get both again, or delete the index and the "
            "records are numbered anew."
        )


def _tabulate(rec: Path, keys: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> RecordTable:
    image, meta = _is_image(rows), ~_is_image(rows) & (keys == 0)
    images, labels = rows[image], rows["labels"][image, 0]
    # Written so that NaN is wrong, too.
    wrong = ~((labels >= 0) & (labels <= MAX_LABEL) & (labels == np.floor(labels)))
    if wrong.any():
        raise UserError(
            f"{rec}: record {keys[image][wrong][0]} has the label {labels[wrong][0]}; expected a class number "
            f"from 0 to {MAX_LABEL}, beyond which float32 labels run together"
        )
    return RecordTable(
        keys=keys[image],
        start=np.where(images["split"], offsets[image], images["start"]),
        size=np.where(images["split"], -1, images["size"]).astype(np.int32),
        label=labels.astype(np.int32),
        meta=rows["labels"][meta].reshape(-1),
        identities=rows["labels"][~image & ~meta],
    )
