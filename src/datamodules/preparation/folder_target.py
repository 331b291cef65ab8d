"""Unpacking faces into class folders."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from src.datamodules.landmarks import HEADER
from src.datamodules.preparation.receipt import Receipt
from src.datamodules.preparation.target import Target, require_local
from src.datamodules.preparation.transform import PreparedFace
from src.datamodules.shard_file import PNG_SIGNATURE
from src.datamodules.sources.source import FaceSource
from src.errors import UserError
from src.files import atomic_write

__all__ = ["FolderTarget"]

_DISK_BLOCK = 4096
_SUFFIXES = (".jpg", ".jpeg", ".png")
_MAX_NAME_BYTES = 240


class FolderTarget(Target):
    """Files `<subject>/<name>.jpg`, and `landmarks.csv` if the source has landmarks.

    Args:
        out: Local folder.
        work: Unused, see `Target`.
    """

    by_class = True

    def __init__(self, out: Path | str, work: Path | str) -> None:
        require_local(out, "folder")
        super().__init__(out, work)

    @property
    def kind(self) -> str:
        """A folder per class."""
        return "class folders"

    @property
    def use(self) -> str:
        """Train on them."""
        landmarks = self.out.path / "landmarks.csv"
        extra = f" datamodule.source.landmarks={landmarks}" if landmarks.exists() else ""
        return f"python train.py experiment=arcface datamodule=folder datamodule.source.root={self.out}{extra}"

    def check(self, source: FaceSource) -> None:
        """Subjects and file names must be plain and unique."""
        used = np.unique(source.labels).tolist()
        owner: dict[str, int] = {}
        for label in used:
            subject = source.classes[label]
            _check_name(subject, f"{source.name}: class {label}")
            if owner.setdefault(subject, label) != label:
                raise UserError(f"{source.name}: classes {owner[subject]} and {label} are both called {subject!r}")
        order = np.argsort(source.labels, kind="stable").tolist()
        for label, rows in groupby(order, key=source.labels.__getitem__):
            subject = source.classes[label]
            seen: dict[str, str] = {}
            for key in map(source.key, rows):
                stem = _stem(key, subject)
                _check_name(stem, f"{source.name}: {key!r}")
                if other := seen.get(stem):
                    raise UserError(
                        f"{source.name}: {other!r} and {key!r} would both become {subject}/{stem}; rename one of them"
                    )
                seen[stem] = key

    def omitted(self, source: FaceSource) -> list[str]:
        """All but visible images, classes and landmarks."""
        omitted = ["near-infrared images"] if "nir" in source.modalities else []
        omitted += ["attributes"] if (source.attributes >= 0).any() else []
        return omitted + (["features"] if source.has_features else [])

    def stored_bytes(self, face: PreparedFace) -> int:
        """Files fill blocks."""
        return -(-len(face.images["image"]) // _DISK_BLOCK) * _DISK_BLOCK

    def write_part(self, number: int, faces: Iterable[PreparedFace]) -> Receipt:
        """Write the files of a part."""
        files: list[bytes] = []
        landmarks: list[list] = []
        digest, size = hashlib.sha256(), 0
        for face in faces:
            content, subject = face.images["image"], face.metadata["subject"]
            suffix = ".png" if content.startswith(PNG_SIGNATURE) else ".jpg"
            file = f"{subject}/{_stem(face.key, subject)}{suffix}"
            path = self.out.path / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            digest.update(content)
            size += len(content)
            files.append(os.fsencode(file))
            landmarks.append(face.metadata.get("landmarks", []))
        contents = {"files": np.array(files, np.bytes_), "landmarks": np.array(landmarks, np.float64)}
        return Receipt(number, len(files), size, digest.hexdigest(), contents)

    def verify(self, receipt: Receipt) -> bool:
        """Compare the checksum of all files of the part."""
        digest = hashlib.sha256()
        for file in receipt.contents["files"].tolist():
            path = self.out.path / os.fsdecode(file)
            if not path.is_file():
                return False
            digest.update(path.read_bytes())
        return digest.hexdigest() == receipt.sha256

    def finish(self, receipts: Sequence[Receipt], source: FaceSource, settings: Mapping[str, Any], side: int) -> None:
        """Write `landmarks.csv`."""
        if source.has_landmarks:
            with atomic_write(self.out.path / "landmarks.csv", "w") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(HEADER)
                for receipt in receipts:
                    writer.writerows(_landmark_rows(receipt))


def _stem(key: str, subject: str) -> str:
    """File name of a sample, without its extension: its name in the source below its class."""
    stem = key.removeprefix(f"{subject}/")
    name, suffix = os.path.splitext(stem)
    return (name if suffix.lower() in _SUFFIXES else stem).replace("/", "_")


def _check_name(name: str, what: str) -> None:
    plain = name.isprintable() and not name.startswith(".") and not any(mark in name for mark in "/\\")
    if not name or not plain or len(os.fsencode(name)) > _MAX_NAME_BYTES:
        raise UserError(
            f"{what} cannot be written as {name!r}; expected a plain name without slashes, leading dot or control "
            "characters. Use target=shards, which takes any name."
        )


def _landmark_rows(receipt: Receipt) -> Iterator[list]:
    points = receipt.contents["landmarks"].reshape(-1, 10).tolist()
    for file, numbers in zip(receipt.contents["files"].tolist(), points, strict=True):
        yield [os.fsdecode(file), *numbers]
