"""Packing faces into a record file as InsightFace's tools read it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from src.datamodules.preparation.receipt import Receipt
from src.datamodules.preparation.target import Target, require_local
from src.datamodules.preparation.transform import PreparedFace
from src.datamodules.record_writer import closing_records, write_property
from src.datamodules.recordio import MAX_LABEL, pack, write_index
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["RecordTarget"]

_FRAME_BYTES = 40
_ID_OFFSET = 16
_ID = np.dtype("<u8")


class RecordTarget(Target):
    """`train.rec`, `train.idx` and, if all images have one size, `property`, in the layout of InsightFace.

    A part is a segment of packed records; `finish` joins the segments, so for a while the disk holds the data twice.

    Args:
        out: Local folder.
        work: Unused, see `Target`.
    """

    by_class = True
    copies = 2

    def __init__(self, out: Path | str, work: Path | str) -> None:
        require_local(out, "record")
        super().__init__(out, work)

    @property
    def kind(self) -> str:
        """One large file."""
        return "record file train.rec"

    @property
    def use(self) -> str:
        """Train on them."""
        return f"python train.py experiment=arcface datamodule=record datamodule.source.path={self.out}"

    def check(self, source: FaceSource) -> None:
        """Labels and keys are stored as float32, which limits both."""
        if (highest := int(source.labels.max())) > MAX_LABEL:
            raise UserError(f"{source.name}: class {highest}, but a record file holds classes up to {MAX_LABEL}")
        if (keys := len(source) + len(np.unique(source.labels))) >= MAX_LABEL:
            raise UserError(
                f"{source.name}: {keys} images and classes, but a record file with identities holds fewer than "
                f"{MAX_LABEL}; use target=shards"
            )

    def omitted(self, source: FaceSource) -> list[str]:
        """All but visible images and class numbers."""
        omitted = ["near-infrared images"] if "nir" in source.modalities else []
        omitted += ["attributes"] if (source.attributes >= 0).any() else []
        omitted += ["landmarks"] if source.has_landmarks else []
        omitted += ["features"] if source.has_features else []
        return [*omitted, "names of classes and files"]

    def stored_bytes(self, face: PreparedFace) -> int:
        """Records have a frame."""
        return len(face.images["image"]) + _FRAME_BYTES

    def write_part(self, number: int, faces: Iterable[PreparedFace]) -> Receipt:
        """Write a segment."""
        temporary = self.work / f"segment-{number:06d}.tmp"
        digest = hashlib.sha256()
        labels: list[int] = []
        offsets = [0]
        with open(temporary, "wb") as file:
            for face in faces:
                label = face.metadata["label"]
                record = pack((label, 1), face.images["image"], 0)
                file.write(record)
                digest.update(record)
                labels.append(label)
                offsets.append(offsets[-1] + len(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._segment(number))
        contents = {"labels": np.array(labels, np.int64), "offsets": np.array(offsets[:-1], np.int64)}
        return Receipt(number, len(labels), offsets[-1], digest.hexdigest(), contents)

    def verify(self, receipt: Receipt) -> bool:
        """Compare the segment's checksum."""
        path = self._segment(receipt.number)
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == receipt.sha256

    def finish(self, receipts: Sequence[Receipt], source: FaceSource, settings: Mapping[str, Any], side: int) -> None:
        """Join the segments and append what describes the identities."""
        labels = np.concatenate([receipt.contents["labels"] for receipt in receipts])
        starts = np.cumsum([0, *(receipt.bytes for receipt in receipts)])
        offsets = [receipt.contents["offsets"] + start for receipt, start in zip(receipts, starts[:-1], strict=True)]
        rec, idx, properties = (self.work / f"{name}.tmp" for name in ("train.rec", "train.idx", "property"))
        with open(rec, "wb") as file:
            first_key = 1
            for receipt in receipts:
                self._append_segment(file, receipt, first_key)
                first_key += receipt.samples
            closing_keys, closing_offsets = [], []
            for key, label in closing_records(labels):
                closing_keys.append(key)
                closing_offsets.append(file.tell())
                file.write(pack(label, b"", key))
            file.flush()
            os.fsync(file.fileno())
        keys = np.concatenate([np.arange(1, len(labels) + 1), closing_keys])
        write_index(idx, keys, np.concatenate([*offsets, closing_offsets]).astype(np.int64))
        if side:
            write_property(properties, int(labels.max()) + 1, side)
            self.deliver(properties, "property")
        self.deliver(idx, "train.idx")
        self.deliver(rec, "train.rec")

    def _append_segment(self, file: IO[bytes], receipt: Receipt, first_key: int) -> None:
        """Copy a segment and give its records their ids, which are known once no earlier image can be left out."""
        content = np.fromfile(self._segment(receipt.number), np.uint8)
        ids = np.arange(first_key, first_key + receipt.samples, dtype=_ID).view(np.uint8).reshape(-1, _ID.itemsize)
        content[receipt.contents["offsets"][:, None] + _ID_OFFSET + np.arange(_ID.itemsize)] = ids
        content.tofile(file)

    def _segment(self, number: int) -> Path:
        return self.work / f"segment-{number:06d}"
