"""Reading the table of contents of one WebDataset tar."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from src.datamodules.sample import UNKNOWN
from src.datamodules.storage import RangeReader
from src.errors import UserError

__all__ = ["MEMBERS", "ShardTable", "scan_shard"]

MEMBERS = ("image", "nir", "metadata", "feature")
"""What a sample may consist of; the column order of every offset table."""

_COLUMN = {
    "jpg": 0, "jpeg": 0, "png": 0, "vis.jpg": 0, "vis.png": 0,
    "nir.jpg": 1, "nir.png": 1,
    "json": 2,
    "feature.npy": 3,
}  # fmt: skip
_MAX_METADATA_BYTES = 1 << 20
_MAX_CLASSES = 1 << 31
_END_OF_ARCHIVE = bytes(1024)


@dataclass(frozen=True)
class ShardTable:
    """Contents of one tar: a row per sample, in file order.

    Attributes:
        file: Name of the tar inside its folder.
        size: Length of the tar in bytes.
        sha256: Hex digest of the tar.
        keys: bytes [n], sample keys.
        labels: int32 [n], class numbers.
        attributes: int8 [n], 0 female, 1 male, -1 unknown.
        offsets: int64 [n, 4], per entry of `MEMBERS` the position of its first byte, -1 where there is none.
        sizes: int32 [n, 4], per entry of `MEMBERS` its length in bytes.
        subjects: Class number -> name.
    """

    file: str
    size: int
    sha256: str
    keys: np.ndarray
    labels: np.ndarray
    attributes: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    subjects: dict[int, str]


def scan_shard(reader: RangeReader, file: str) -> ShardTable:
    """Read the table of contents, the class numbers and the checksum of a tar.

    Consecutive members with the same stem (all before the first dot of the base name) are one sample. Members are
    only ever read by position; their names never become paths.

    Args:
        reader: The tar, uncompressed.
        file: Its name, for the table and for messages.

    Returns:
        One row per sample.

    Raises:
        UserError: The file is truncated or no tar, holds no sample, a key twice, a link, or an unsafe name.
    """
    path = reader.location
    with reader.stream() as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                samples = _group_members(archive, reader, file)
                end = archive.offset
        except tarfile.ReadError as error:
            raise UserError(f"{path}: truncated or not a tar ({error}); copy or make it again") from error
    # tarfile takes a file that ends, or turns to rubbish, between two members for a whole one.
    if reader.read(end, len(_END_OF_ARCHIVE)) != _END_OF_ARCHIVE:
        raise UserError(f"{path}: truncated, no end-of-archive mark at byte {end}; copy or make it again")
    if not samples:
        raise UserError(f"{path}: holds no sample; expected members such as 000000000.jpg and 000000000.json")
    labels, subjects = _read_classes(file, samples)
    attributes = [sample.metadata.get("attribute") for sample in samples.values()]
    return ShardTable(
        file,
        reader.size,
        digest,
        keys=np.array([key.encode() for key in samples]),
        labels=np.array(labels, np.int32),
        attributes=np.array([value if value in (0, 1) else UNKNOWN for value in attributes], np.int8),
        offsets=np.array([sample.offsets for sample in samples.values()], np.int64),
        sizes=np.array([sample.sizes for sample in samples.values()], np.int32),
        subjects=subjects,
    )


@dataclass
class _Members:
    metadata: dict[str, Any] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=lambda: [-1] * len(MEMBERS))
    sizes: list[int] = field(default_factory=lambda: [0] * len(MEMBERS))


def _group_members(archive: tarfile.TarFile, reader: RangeReader, file: str) -> dict[str, _Members]:
    samples: dict[str, _Members] = {}
    for member in archive:
        key, extension = _split(member, file)
        if member.isdir() or not extension:
            continue
        if key not in samples:
            samples[key] = _Members()
        elif key != next(reversed(samples)):
            raise UserError(f"{file}: the key {key!r} occurs twice; the members of a sample must be consecutive")
        sample = samples[key]
        if extension in ("cls", "json"):
            sample.metadata |= _read_metadata(reader, member, extension, file)
        if (column := _COLUMN.get(extension)) is not None:
            if sample.offsets[column] >= 0:
                raise UserError(f"{file}: the key {key!r} occurs twice, or has two members of kind {MEMBERS[column]}")
            sample.offsets[column], sample.sizes[column] = member.offset_data, member.size
    return samples


def _read_classes(file: str, samples: dict[str, _Members]) -> tuple[list[int], dict[int, str]]:
    """Class number per sample, and name per class number."""
    labels: list[int] = []
    subjects: dict[int, str] = {}
    for key, sample in samples.items():
        where = f"{file}: sample {key!r}"
        if sample.offsets[0] < 0:
            raise UserError(f"{where} has no image; expected a member {key}.jpg, .jpeg, .png or .vis.jpg")
        label = sample.metadata.get("label")
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < _MAX_CLASSES:
            raise UserError(
                f"{where} has the class number {label!r}; expected a whole number from 0 in {key}.cls "
                f"or as `label` of {key}.json"
            )
        subject = str(sample.metadata.get("subject", label))
        if subjects.setdefault(label, subject) != subject:
            raise UserError(f"{where}: class {label} is called both {subjects[label]!r} and {subject!r}")
        labels.append(label)
    return labels, subjects


def _split(member: tarfile.TarInfo, file: str) -> tuple[str, str]:
    """Split a member name into key and extension; the extension is empty for what is no part of a sample."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise UserError(f"{file}: unsafe member name {member.name!r}; expected a plain name such as 000000000.jpg")
    if not (member.isreg() or member.isdir()):
        raise UserError(f"{file}: member {member.name!r} is a link or a device; expected plain files only")
    stem, _, extension = path.name.partition(".")
    return str(path.with_name(stem)) if stem else "", extension.lower() if stem else ""


def _read_metadata(reader: RangeReader, member: tarfile.TarInfo, extension: str, file: str) -> dict[str, Any]:
    where = f"{file}: member {member.name!r}"
    if member.size > _MAX_METADATA_BYTES:
        raise UserError(f"{where} has {member.size} bytes; expected at most {_MAX_METADATA_BYTES}")
    content = reader.read(member.offset_data, member.size)
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    try:
        value = json.loads(content)
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON ({error})") from error
    if extension == "cls":
        return {"label": value}
    if not isinstance(value, dict):
        raise UserError(f"{where} holds a {type(value).__name__}; expected an object with `subject` and `label`")
    return value
