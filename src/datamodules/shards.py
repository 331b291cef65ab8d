"""Writing datasets as WebDataset tars with an index beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from src.datamodules.shard_file import ShardFile
from src.datamodules.shard_index import ShardIndex
from src.datamodules.shard_scan import ShardTable
from src.datamodules.storage import Location
from src.errors import UserError
from src.files import explain_full_disk

__all__ = ["ShardIndex", "ShardWriter"]

_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


class ShardWriter:
    """Writes a dataset folder: `<name>-000000.tar` ... and their index.

    The tars grow under hidden temporary names and are renamed when all are whole; `index.json`, written last,
    makes the folder a dataset. After an exception nothing is left behind. The same samples in the same order give the
    same bytes.

    Args:
        root: Folder to write; it must not hold tars or an index yet.
        name: First part of the tars' names.
        samples_per_shard: Samples per tar.
        resolution: Side of the square images in pixels.
        attributes: Free facts to store in the index (seed, licence ...); anything JSON can hold.

    Raises:
        UserError: The folder already holds tars or an index.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        name: str = "train",
        samples_per_shard: int = 2000,
        resolution: int,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = Path(root)
        self.name = name
        self.samples_per_shard = samples_per_shard
        self.resolution = resolution
        self.attributes = dict(attributes or {})
        self._tables: list[ShardTable] = []
        self._keys: set[str] = set()
        self._subjects: dict[int, str] = {}
        self._shard: ShardFile | None = None
        if found := next(self.root.glob("*.tar"), None) or next(self.root.glob("index.json"), None):
            raise UserError(f"{found}: the folder already holds a dataset; choose another folder, or delete its files")
        with self._explain_full_disk():
            self.root.mkdir(parents=True, exist_ok=True)
            self._remove_temporary_files()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                with self._explain_full_disk():
                    self._finish()
        finally:
            self._remove_temporary_files()
            if self._shard is not None:
                self._shard.abandon()

    def add(
        self,
        key: str,
        *,
        visible: bytes,
        infrared: bytes | None = None,
        metadata: Mapping[str, Any],
        feature: np.ndarray | None = None,
    ) -> None:
        """Append one sample.

        Args:
            key: Unique name of letters, digits, `_` and `-`.
            visible: Encoded RGB image (JPEG or PNG).
            infrared: Encoded grey image (JPEG or PNG) of the same face.
            metadata: `subject` (class name), `label` (class number from 0), `attribute` (0 female, 1 male, -1
                unknown), `landmarks` (5 pairs of pixels), `box`, `source`, and free fields; anything JSON can hold.
            feature: Embedding, float32 [D].

        Raises:
            UserError: Unusable or repeated key, bad class number, class with two names, or full disk.
        """
        self._check(key, metadata)
        images = {"image": visible} if infrared is None else {"image": visible, "nir": infrared}
        with self._explain_full_disk():
            if self._shard is None:
                self._shard = ShardFile(self._temporary(len(self._tables)))
            self._shard.add(key, images, metadata, feature)
            if self._shard.samples == self.samples_per_shard:
                self._close_shard(self._shard)

    def _check(self, key: str, metadata: Mapping[str, Any]) -> None:
        if not _KEY.fullmatch(key):
            raise UserError(f"{self.root}: bad key {key!r}; expected 1 to 80 letters, digits, `_` or `-`")
        if key in self._keys:
            raise UserError(f"{self.root}: the key {key!r} was already written; keys must be unique")
        label = metadata.get("label")
        if not isinstance(label, int) or label < 0:
            raise UserError(f"{self.root}: sample {key!r} has the label {label!r}; expected a whole number from 0")
        subject = str(metadata.get("subject", label))
        if self._subjects.setdefault(label, subject) != subject:
            raise UserError(
                f"{self.root}: sample {key!r}: class {label} is called both {self._subjects[label]!r} and {subject!r}"
            )
        self._keys.add(key)

    def _finish(self) -> None:
        if self._shard is not None:
            self._close_shard(self._shard)
        if not self._tables:
            raise UserError(f"{self.root}: no sample was written; a dataset holds at least one")
        index = ShardIndex.assemble(
            Location(self.root), self._tables, resolution=self.resolution, attributes=self.attributes
        )
        try:
            for number, table in enumerate(self._tables):
                os.replace(self._temporary(number), self.root / table.file)
            index.save()
        except BaseException:
            for file in [*(table.file for table in self._tables), "index.npz"]:
                (self.root / file).unlink(missing_ok=True)
            raise

    def _close_shard(self, shard: ShardFile) -> None:
        self._tables.append(shard.close(self._shard_name(len(self._tables))))
        self._shard = None

    def _shard_name(self, number: int) -> str:
        return f"{self.name}-{number:06d}.tar"

    def _temporary(self, number: int) -> Path:
        return self.root / f".{self._shard_name(number)}.tmp"

    def _remove_temporary_files(self) -> None:
        for path in self.root.glob(f".{self.name}-*.tar.tmp"):
            path.unlink()

    def _explain_full_disk(self) -> AbstractContextManager[None]:
        return explain_full_disk(self.root, "nothing was kept")
