"""Packing faces into WebDataset shards with an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.datamodules.preparation.receipt import Receipt
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import PreparedFace
from src.datamodules.shard_file import ShardFile
from src.datamodules.shard_index import ShardIndex
from src.datamodules.shard_scan import ShardTable
from src.datamodules.sources.source import FaceSource
from src.datamodules.storage import Location

__all__ = ["ShardTarget"]

_TAR_BLOCK = 512
_COLUMNS = ("keys", "labels", "attributes", "offsets", "sizes")


class ShardTarget(Target):
    """Tars `<name>-000000.tar` ... with `index.json` and `index.npz`, local or remote.

    The key of a sample is its row in the source, 9 digits; its name there is `source` of its metadata. Of remote parts
    the checksum is computed again when a run is continued, except behind a pipe, which cannot be read back.

    Args:
        out: See `Target`.
        work: See `Target`.
        name: First part of the tars' names.
    """

    def __init__(self, out: Path | str, work: Path | str, *, name: str = "train") -> None:
        super().__init__(out, work)
        self.name = name

    @property
    def kind(self) -> str:
        """Tars with an index."""
        return f"shards {self.name}-000000.tar ..."

    @property
    def use(self) -> str:
        """Train on them."""
        root = "DIR, the folder that the command wrote to" if self.out.is_pipe else self.out
        return f"python train.py experiment=arcface datamodule=shards datamodule.source.root={root}"

    def check(self, source: FaceSource) -> None:
        """Shards hold everything."""

    def omitted(self, source: FaceSource) -> list[str]:
        """Nothing."""
        return []

    def stored_bytes(self, face: PreparedFace) -> int:
        """Members are padded to blocks and have a block of header."""
        members = [*map(len, face.images.values()), 512 if "landmarks" in face.metadata else 128]
        if face.feature is not None:
            members.append(face.feature.nbytes + 128)
        return sum(_TAR_BLOCK + -(-size // _TAR_BLOCK) * _TAR_BLOCK for size in members)

    def write_part(self, number: int, faces: Iterable[PreparedFace]) -> Receipt:
        """Write a tar; none if there is no sample."""
        file = f"{self.name}-{number:06d}.tar"
        temporary = self.work / f"{file}.tmp"
        shard = ShardFile(temporary)
        try:
            for face in faces:
                shard.add(f"{face.row:09d}", face.images, face.metadata, face.feature)
            if not shard.samples:
                return Receipt(number, 0, 0, "", {})
            table = shard.close(file)
            self.deliver(temporary, file)
        finally:
            shard.abandon()
            temporary.unlink(missing_ok=True)
        contents = {name: getattr(table, name) for name in _COLUMNS}
        return Receipt(number, shard.samples, table.size, table.sha256, contents)

    def verify(self, receipt: Receipt) -> bool:
        """Compare the tar's checksum."""
        if not receipt.samples or self.out.is_pipe:
            return True
        tar = self.out / f"{self.name}-{receipt.number:06d}.tar"
        return tar.exists() and tar.sha256() == receipt.sha256

    def finish(self, receipts: Sequence[Receipt], source: FaceSource, settings: Mapping[str, Any], side: int) -> None:
        """Write the index."""
        tables = [self._table(receipt, source) for receipt in receipts if receipt.samples]
        attributes = {**source.facts, "prepared": dict(settings)}
        index = ShardIndex.assemble(Location(self.work), tables, resolution=side or None, attributes=attributes)
        index.save()
        for name in ("index.npz", "index.json"):
            self.deliver(self.work / name, name)

    def _table(self, receipt: Receipt, source: FaceSource) -> ShardTable:
        file = f"{self.name}-{receipt.number:06d}.tar"
        subjects = {label: source.classes[label] for label in np.unique(receipt.contents["labels"]).tolist()}
        return ShardTable(file, receipt.bytes, receipt.sha256, subjects=subjects, **receipt.contents)
