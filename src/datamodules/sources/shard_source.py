"""Random access to the samples of a folder of WebDataset shards."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from src.datamodules.decode import BadImage
from src.datamodules.shard_index import ShardIndex
from src.datamodules.shard_scan import MEMBERS
from src.datamodules.sources.source import MODALITIES, FaceSource
from src.datamodules.storage import Location, RangeReader, expand

__all__ = ["ShardSource"]

_MAX_OPEN_FILES = 256


class ShardSource(FaceSource):
    """The samples of a folder of tars, read by position through their index.

    Tars without an index are read once from end to end when the source is opened. What a pipe writes goes to a
    temporary file, once for every process that reads from it.

    Args:
        root: Folder with the tars and their `index.json`, a path or a URL; or tars by name, with braces:
            `DIR/train-{000000..000009}.tar`, `pipe:ssh host cat train-{000000..000009}.tar`.

    Raises:
        UserError: The folder is no whole dataset, or a tar is damaged (see `ShardIndex.load` and `scan`).
    """

    def __init__(self, root: Path | str) -> None:
        self._readers: dict[int, RangeReader] = {}
        tars = expand(str(root))
        if any(tar.name.endswith(".tar") or (tar.is_pipe and "{name}" not in str(tar)) for tar in tars):
            self._tars = tars
            self._readers = {number: tar.open() for number, tar in enumerate(tars)}
            opened = {str(tar): reader for tar, reader in zip(tars, self._readers.values(), strict=True)}
            self.index = ShardIndex.scan_tars(Location(str(root)), opened)
        else:
            self.index = ShardIndex.load(root)
            self._tars = [Location(root) / shard.file for shard in self.index.shards]
        index = self.index
        super().__init__(
            str(root),
            index.label,
            index.classes,
            index.fingerprint,
            attributes=index.attribute,
            modalities=tuple(name for name in MODALITIES if self._all_have(name)),
            resolution=index.resolution,
        )
        self.facts = index.attributes
        self.has_features = self._all_have("feature")
        self.has_metadata = self._all_have("metadata")
        self.has_landmarks = self.has_metadata and "landmarks" in self._stored_metadata(0)

    def _all_have(self, member: str) -> bool:
        return bool((self.index.offset[:, MEMBERS.index(member)] >= 0).all())

    def key(self, row: int) -> str:
        """Key of the sample in its tar."""
        return self.index.keys[row].decode()

    def content(self, row: int, modality: str = "image") -> bytes:
        """Encoded image of a sample."""
        return self._member(row, modality)

    def landmarks(self, row: int) -> np.ndarray:
        """`landmarks` of the sample's JSON member, float32 [5, 2]."""
        try:
            return np.asarray(self._stored_metadata(row)["landmarks"], np.float32).reshape(5, 2)
        except (KeyError, TypeError, ValueError) as error:
            raise BadImage(f"its metadata hold no five `landmarks` ({error!r})") from error

    def feature(self, row: int) -> np.ndarray:
        """The sample's feature member, float32 [D]."""
        try:
            return np.load(BytesIO(self._member(row, "feature")), allow_pickle=False).astype(np.float32)
        except (EOFError, TypeError, ValueError) as error:
            raise BadImage(f"its feature is no NumPy array ({error})") from error

    def metadata(self, row: int) -> dict[str, Any]:
        """The sample's JSON member; `subject`, `label`, `attribute` and `source` where that has none."""
        stored = self._stored_metadata(row) if self.has_metadata else {}
        return super().metadata(row) | stored

    def _stored_metadata(self, row: int) -> dict[str, Any]:
        try:
            return json.loads(self._member(row, "metadata"))
        except ValueError as error:
            raise BadImage(f"its metadata are no JSON ({error})") from error

    def _member(self, row: int, member: str) -> bytes:
        index, column = self.index, MEMBERS.index(member)
        shard, size = index.shard.item(row), index.size.item(row, column)
        reader = self._readers.get(shard) or self._open(shard)
        content = reader.read(index.offset.item(row, column), size)
        if len(content) < size:
            raise BadImage(f"{len(content)} of {size} bytes: the tar was cut after it was opened")
        return content

    def _open(self, shard: int) -> RangeReader:
        if len(self._readers) >= _MAX_OPEN_FILES:
            # Only forgotten, for another thread may be reading from one: the last user closes it.
            self._readers = {}
        reader = self._readers[shard] = self._tars[shard].open()
        return reader

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": {}}
