"""Text files with the same fields on each line, up to millions of lines.

Files with just one space between two fields are read all lines at once. Where anything is different they are read line
by line, which is ten times slower, tolerates other blanks, and finds the line to complain about.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError
from src.files import atomic_write

__all__ = ["MAX_INTEGER", "read_integers", "read_named_numbers", "to_integer"]

log = logging.getLogger(__name__)

MAX_INTEGER = np.iinfo(np.int32).max
"""Largest whole number that is read."""

_BLOCK = 1 << 22  # bytes


def read_integers(path: Path, columns: Sequence[str], cache: Path | None = None) -> NDArray[np.int32]:
    """Read a file of whole numbers.

    Args:
        path: The file.
        columns: What the fields of a line are, for messages.
        cache: Folder to keep the numbers in, to be read faster the next time; None to keep nothing. An entry counts
            for the path, size and time of the last change of the file; a damaged one is replaced.

    Returns:
        int32 [lines, columns], without empty lines; each column is contiguous.

    Raises:
        UserError: The file cannot be read, or a line is malformed; it is named.
    """
    try:
        if cache is None:
            return _parse_integers(path, columns)
        entry = _cache_entry(path, columns, cache)
        table = _load(entry, len(columns))
        if table is None:
            table = _parse_integers(path, columns)
            _store(entry, table)
        return table
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_named_numbers(path: Path, columns: Sequence[str], *, whole: bool) -> tuple[list[str], NDArray[Any]]:
    """Read a file with a name and numbers on each line.

    Args:
        path: The file.
        columns: What the fields of a line are, the name first; for messages.
        whole: Whether the numbers are whole.

    Returns:
        The names, and the numbers [lines, columns - 1], int32 if `whole`, else float64; without empty lines.

    Raises:
        UserError: The file cannot be read, or a line is malformed; it is named.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not lines[-1]:
        lines.pop()
    parts = [line.partition(b" ") for line in lines]
    names = [name for name, _, _ in parts]
    numbers = _parse_plain(b"".join(rest + b"\n" for _, _, rest in parts), len(columns) - 1, whole=whole)
    if numbers is None or not all(names) or min(b"".join(names), default=255) <= ord(" "):
        converters = [bytes] + [to_integer if whole else float] * (len(columns) - 1)
        rows = list(_parse_lines(lines, 1, path, columns, converters))
        names = [row[0] for row in rows]
        numbers = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, len(columns) - 1)
    if whole:
        numbers = numbers.astype(np.int32)
    return os.fsdecode(b"\n".join(names)).split("\n") if names else [], numbers


def to_integer(field: bytes | str) -> int:
    """Convert decimal digits.

    Raises:
        ValueError: It is anything else, or above `MAX_INTEGER`.
    """
    # Python takes underscores and signs, and refuses thousands of digits.
    if not (field.isascii() and field.isdigit() and len(field) < 20 and int(field) <= MAX_INTEGER):
        raise ValueError(f"{field!r} is no whole number up to {MAX_INTEGER}")
    return int(field)


def _parse_integers(path: Path, columns: Sequence[str]) -> NDArray[np.int32]:
    tables = [np.empty((0, len(columns)), dtype=np.int32)]
    line = 1
    for block in _blocks(path):
        numbers = _parse_plain(block, len(columns), whole=True)
        if numbers is None:
            rows = _parse_lines(block.split(b"\n"), line, path, columns, [to_integer] * len(columns))
            numbers = np.array(list(rows), dtype=np.int32).reshape(-1, len(columns))
        tables.append(numbers.astype(np.int32))
        line += block.count(b"\n")
    return np.asfortranarray(np.concatenate(tables))


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, each with its end."""
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            yield block if block.endswith(b"\n") else block + b"\n"


def _parse_plain(block: bytes, columns: int, *, whole: bool) -> NDArray[Any] | None:
    """Parse lines of numbers, int64 or float64 [lines, columns]; None unless one space separates two of them."""
    characters = np.frombuffer(block, dtype=np.uint8)
    separators = characters[characters < (ord("0") if whole else ord("!"))]
    line = np.frombuffer(b" " * (columns - 1) + b"\n", dtype=np.uint8)
    if len(separators) % columns or (separators.reshape(-1, columns) != line).any():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # older NumPy only warns of what it cannot parse
            numbers = np.fromstring(block, dtype=np.int64 if whole else np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    # Where separators follow each other there are fewer numbers than separators.
    if len(numbers) != len(separators) or (whole and numbers.max(initial=0) > MAX_INTEGER):
        return None
    return numbers.reshape(-1, columns)


def _parse_lines(
    lines: Sequence[bytes], first: int, path: Path, columns: Sequence[str], converters: Sequence[Callable[[bytes], Any]]
) -> Iterator[list[Any]]:
    """Converted fields of each line that is not empty; `first` is the number of the first line."""
    for number, line in enumerate(lines, start=first):
        fields = line.split()
        if not fields:
            continue
        try:
            yield [convert(field) for convert, field in zip(converters, fields, strict=True)]
        except ValueError as error:
            found = line[:80].decode(errors="backslashreplace")
            raise UserError(f"{path}, line {number}: expected `{' '.join(columns)}`, found {found!r}") from error


def _cache_entry(path: Path, columns: Sequence[str], cache: Path) -> Path:
    status = path.stat()
    facts = f"{path.resolve()}\n{status.st_size} {status.st_mtime_ns} {len(columns)}"
    return cache / f"{hashlib.sha256(os.fsencode(facts)).hexdigest()[:32]}.npz"


def _load(entry: Path, columns: int) -> NDArray[np.int32] | None:
    if not entry.exists():
        return None
    try:
        with np.load(entry, allow_pickle=False) as arrays:
            table: NDArray[np.int32] = arrays["table"]
        if table.dtype == np.int32 and table.ndim == 2 and table.shape[1] == columns:
            return table
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        pass
    log.warning("%s is damaged and will be replaced", entry)
    return None


def _store(entry: Path, table: NDArray[np.int32]) -> None:
    try:
        with atomic_write(entry) as file:
            np.savez(file, table=table)
    except OSError as error:
        log.warning("%s: not kept (%s)", entry, error)
