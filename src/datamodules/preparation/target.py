"""What every format that faces can be packed into offers: parts that are written, checked and completed."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.datamodules.preparation.receipt import Receipt
from src.datamodules.preparation.transform import PreparedFace
from src.datamodules.sources.source import FaceSource
from src.datamodules.storage import Location
from src.errors import UserError
from src.files import atomic_write

__all__ = ["Target", "require_local"]

_RECORD = "prepared.json"


class Target(ABC):
    """A data set to be written; many processes write its parts side by side.

    Parts are written under temporary names in the working folder and moved to their place when they are whole.
    `prepared.json`, written last, marks a whole data set.

    Args:
        out: Folder, fsspec URL or `pipe:COMMAND` to write to.
        work: Folder for the journals and unfinished parts of remote targets; a local target keeps them in its own
            folder, in `.prepare`.
    """

    by_class = False
    """Whether the format wants the images of a class together, in the order of the class numbers."""
    copies = 1
    """How often the data lie on the disk at most, while they are being written."""

    def __init__(self, out: Path | str, work: Path | str) -> None:
        self.out = Location(out)
        if self.out.is_local:
            self.work = self.out.path / ".prepare"
        else:
            self.out / "name"  # a pipe that cannot stand for several files fails here
            self.work = Path(work) / hashlib.sha256(str(out).encode()).hexdigest()[:16]

    @property
    @abstractmethod
    def kind(self) -> str:
        """The format, in words."""

    @property
    @abstractmethod
    def use(self) -> str:
        """What to type next."""

    @abstractmethod
    def check(self, source: FaceSource) -> None:
        """Raise UserError if the format cannot hold the collection."""

    @abstractmethod
    def omitted(self, source: FaceSource) -> list[str]:
        """What the source has and the format does not hold, in words."""

    @abstractmethod
    def stored_bytes(self, face: PreparedFace) -> int:
        """Bytes that a sample takes on the disk, about."""

    @abstractmethod
    def write_part(self, number: int, faces: Iterable[PreparedFace]) -> Receipt:
        """Write a part.

        Args:
            number: From 0.
            faces: Its samples, in order; there may be none.

        Returns:
            Its receipt, without the facts that only the one who made `faces` knows.
        """

    @abstractmethod
    def verify(self, receipt: Receipt) -> bool:
        """Whether a part is still as it was written."""

    @abstractmethod
    def finish(self, receipts: Sequence[Receipt], source: FaceSource, settings: Mapping[str, Any], side: int) -> None:
        """Turn finished parts into a data set.

        Args:
            receipts: Of all parts, in order; at least one holds a sample.
            source: The collection.
            settings: How it was prepared.
            side: Of all images in pixels; 0 if they differ or are not square.
        """

    def foreign_files(self) -> list[str]:
        """Names of what lies in a target that no run has written to yet; nothing can be known of a pipe's end."""
        if self.out.is_pipe:
            return []
        if not self.out.is_local:
            return self.out.files()
        if not self.out.path.exists():
            return []
        return sorted(path.name for path in self.out.path.iterdir() if path != self.work)

    def read_record(self) -> dict[str, Any] | None:
        """How the data set in the target was prepared; None unless it is whole."""
        location = self.out / _RECORD
        if self.out.is_pipe or not location.exists():
            return None
        try:
            return dict(json.loads(location.read_bytes()))
        except (TypeError, ValueError) as error:
            raise UserError(f"{location}: damaged ({error}); choose another target, or delete this one") from error

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Mark the data set as whole."""
        with atomic_write(self.work / _RECORD, "w") as file:
            json.dump(dict(record), file, ensure_ascii=False, indent=1)
        self.deliver(self.work / _RECORD, _RECORD)

    def deliver(self, file: Path, name: str) -> None:
        """Move a whole file from the working folder to its place."""
        if self.out.is_local:
            os.replace(file, self.out.path / name)
        else:
            (self.out / name).upload(file)
            file.unlink()


def require_local(out: Path | str, kind: str) -> None:
    """Raise UserError unless `out` is a local folder.

    Args:
        out: Where to write.
        kind: Of target, for the message.
    """
    if not Location(out).is_local:
        raise UserError(f"out={out}: target={kind} writes local folders only; use target=shards, or a local folder")
