"""The index of a folder of shards: random access without reading the tars from end to end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from src.datamodules.shard_scan import ShardTable, scan_shard
from src.datamodules.storage import Location, RangeReader
from src.errors import UserError
from src.files import atomic_write

__all__ = ["Shard", "ShardIndex"]

_SCHEMA = 1
_MANIFEST, _TABLE = "index.json", "index.npz"
_COLUMNS = ("keys", "shard", "label", "attribute", "offset", "size")
_UNSAFE = (b"\n/", b"..", b"\\")


@dataclass(frozen=True)
class Shard:
    """One tar of a dataset: its name, length in bytes, SHA-256 in hex and number of samples."""

    file: str
    bytes: int
    sha256: str
    samples: int


@dataclass(frozen=True)
class ShardIndex:
    """Where every sample of a folder of shards lies.

    On disk it is `index.json` (counts, resolution, class names, checksums) and `index.npz` (a row per sample, 66
    bytes each), bound to one another by a checksum.

    Attributes:
        root: The folder, local or remote.
        shards: Its tars.
        classes: Class name per class number.
        resolution: Side of the square images in pixels; None if unknown.
        attributes: Free facts about the dataset (seed, licence ...).
        keys: bytes [N], sample keys.
        shard: int32 [N], row in `shards`.
        label: int32 [N], class number.
        attribute: int8 [N], 0 female, 1 male, -1 unknown.
        offset: int64 [N, 4], first byte of each of `shard_scan.MEMBERS` in its tar, -1 where there is none.
        size: int32 [N, 4], its length in bytes.
    """

    root: Location
    shards: tuple[Shard, ...]
    classes: list[str]
    resolution: int | None
    attributes: Mapping[str, Any]
    keys: np.ndarray
    shard: np.ndarray
    label: np.ndarray
    attribute: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def class_counts(self) -> np.ndarray:
        """int64 [num_classes], images per class."""
        return np.bincount(self.label, minlength=len(self.classes))

    @property
    def fingerprint(self) -> str:
        """Hex digest of the contents of all tars in order."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    @classmethod
    def load(cls, root: Path | str) -> ShardIndex:
        """Open the index of a dataset and check the folder against it, reading no tar.

        Of the tars behind a URL only the names are checked, of those behind a pipe nothing.

        Args:
            root: Folder, fsspec URL, or `pipe:COMMAND` with `{name}` in it.

        Raises:
            UserError: The index is missing or damaged, or does not belong to the tars beside it; a tar is truncated;
                a key occurs twice or is unsafe.
        """
        location = Location(root)
        manifest_path = location / _MANIFEST
        if not (location.is_pipe or manifest_path.exists()):
            raise UserError(
                f"{manifest_path}: not found, so {root} is not a whole dataset. Give the folder that holds index.json; "
                f"for tars made elsewhere write one with `privface index root={root}`."
            )
        try:
            manifest = json.loads(manifest_path.read_bytes())
            if manifest["schema"] != _SCHEMA:
                raise UserError(f"{manifest_path}: schema {manifest['schema']!r}, expected {_SCHEMA}; make it again")
            shards = tuple(Shard(**shard) for shard in manifest["shards"])
            _check_tars(location, shards)
            table = _load_table(location / _TABLE, manifest["table_sha256"])
            index = cls(
                location, shards, manifest["classes"], manifest["resolution"], manifest["attributes"],
                *(table[name] for name in _COLUMNS),
            )  # fmt: skip
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{manifest_path}: damaged or not an index of shards ({error!r}); make it again") from error
        index._check_rows()
        return index

    @classmethod
    def scan(cls, root: Path | str) -> ShardIndex:
        """Build the index of tars made elsewhere (members `.jpg` with `.cls` or `.json`) by reading them.

        Raises:
            UserError: No tar, a truncated tar, a key that occurs twice, an unsafe member name, no class number.
        """
        location = Location(root)
        names = [name for name in location.files() if name.endswith(".tar") and "/" not in name]
        if not names:
            raise UserError(f"{root}: no *.tar found; give the folder that holds the shards")
        return cls.scan_tars(location, {name: (location / name).open() for name in names})

    @classmethod
    def scan_tars(cls, root: Location, tars: Mapping[str, RangeReader]) -> ShardIndex:
        """Build the index of opened tars; see `scan`.

        Args:
            root: Their folder, or what stands for it in messages.
            tars: Name -> tar.
        """
        progress = track(tars.items(), f"reading {root.name}", transient=True, console=Console(stderr=True))
        tables = [scan_shard(reader, name) for name, reader in progress]
        return cls.assemble(root, tables, resolution=None, attributes={})

    @classmethod
    def assemble(
        cls, root: Location, tables: Sequence[ShardTable], *, resolution: int | None, attributes: Mapping[str, Any]
    ) -> ShardIndex:
        """Join the tables of contents of a dataset's tars.

        Raises:
            UserError: A key occurs in two tars, or a class has two names.
        """
        subjects: dict[int, str] = {}
        for table in tables:
            for label, subject in table.subjects.items():
                if subjects.setdefault(label, subject) != subject:
                    raise UserError(f"{root}: class {label} is called both {subjects[label]!r} and {subject!r}")

        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(table, name) for table in tables])

        index = cls(
            root=root,
            shards=tuple(Shard(table.file, table.size, table.sha256, len(table.keys)) for table in tables),
            classes=[subjects.get(label, "") for label in range(max(subjects) + 1)],
            resolution=resolution,
            attributes=attributes,
            keys=column("keys"),
            shard=np.repeat(np.arange(len(tables), dtype=np.int32), [len(table.keys) for table in tables]),
            label=column("labels"),
            attribute=column("attributes"),
            offset=column("offsets"),
            size=column("sizes"),
        )
        index._check_rows()
        return index

    def save(self) -> None:
        """Write `index.npz`, then `index.json`, which makes the local folder a dataset."""
        buffer = BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in _COLUMNS})
        with atomic_write(self.root.path / _TABLE) as file:
            file.write(buffer.getbuffer())
        manifest = {
            "schema": _SCHEMA,
            "samples": len(self),
            "resolution": self.resolution,
            "classes": self.classes,
            "class_counts": self.class_counts.tolist(),
            "shards": [vars(shard) for shard in self.shards],
            "table_sha256": hashlib.sha256(buffer.getbuffer()).hexdigest(),
            "attributes": dict(self.attributes),
        }
        with atomic_write(self.root.path / _MANIFEST, "w") as file:
            json.dump(manifest, file, ensure_ascii=False, indent=1)

    def _check_rows(self) -> None:
        keys = self.keys.tolist()
        if len(set(keys)) < len(keys):
            unique, counts = np.unique(self.keys, return_counts=True)
            twice = unique[counts > 1][0].decode()
            raise UserError(f"{self.root}: the key {twice!r} occurs twice; keys must be unique in a dataset")
        joined = b"\n" + b"\n".join(keys)
        if unsafe := next((part for part in _UNSAFE if part in joined), None):
            key = next(key for key in keys if unsafe in b"\n" + key).decode()
            raise UserError(f"{self.root}: unsafe key {key!r}; expected a plain name such as 000000000")
        ends = self.offset + self.size
        if (ends > np.array([shard.bytes for shard in self.shards])[self.shard, None]).any() or self.size.min() < 0:
            raise UserError(f"{self.root / _TABLE}: points past the end of a tar; make the index again")


def _check_tars(root: Location, shards: Sequence[Shard]) -> None:
    for shard in shards:
        if Path(shard.file).name != shard.file:
            raise UserError(f"{root / _MANIFEST}: unsafe shard name {shard.file!r}; expected a name without folders")
    if root.is_pipe:
        return
    found = {path.name for path in root.path.glob("*.tar")} if root.is_local else set(root.files())
    for shard in shards:
        path = root / shard.file
        if shard.file not in found:
            raise UserError(f"{path}: not found, though {_MANIFEST} lists it; copy it, or make the index again")
        if root.is_local and (size := path.path.stat().st_size) != shard.bytes:
            reason = "the tar is truncated" if size < shard.bytes else "the index belongs to another dataset"
            raise UserError(f"{path}: {size} bytes, expected {shard.bytes}: {reason}; copy both again")
    if extra := {name for name in found if name.endswith(".tar")} - {shard.file for shard in shards}:
        raise UserError(
            f"{root / _MANIFEST}: does not list {min(extra)} (tars not listed: {len(extra)}), so it is the index of "
            "another dataset; make the index again, or remove those tars"
        )


def _load_table(table: Location, sha256: str) -> dict[str, np.ndarray]:
    if not (table.is_pipe or table.exists()):
        raise UserError(f"{table}: not found; it belongs to {_MANIFEST}, copy both")
    content = table.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{table}: checksum differs from the one in {_MANIFEST}: damaged or of another dataset")
    with np.load(BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in _COLUMNS}
