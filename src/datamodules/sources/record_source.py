"""Face images in an MXNet RecordIO file, the format of InsightFace's training sets."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from src.datamodules.record_reader import RecordReader
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["RecordSource"]

logger = logging.getLogger(__name__)


class RecordSource(FaceSource):
    """The images of a `.rec` file; classes are named by their numbers, all of one width.

    Both InsightFace's files and those of MXNet's im2rec are read (see `RecordReader`); the side of the images is taken
    from the file `property` if there is one. Keys are record numbers of nine digits.

    Args:
        path: The `.rec` file, or the folder that holds `train.rec`.

    Raises:
        UserError: A file is missing or damaged, or a label is no class number.
    """

    def __init__(self, path: Path | str) -> None:
        rec = Path(path)
        if rec.is_dir():
            rec /= "train.rec"
        self._rec = rec
        self._reader = RecordReader(rec)
        labels, num_classes = self._reader.labels, self._reader.num_classes
        if empty := num_classes - np.count_nonzero(np.bincount(labels)):
            logger.warning("%s: %d of %d class numbers have no image", rec, empty, num_classes)
        resolution = _read_property(rec.with_name("property"), num_classes)
        digest = hashlib.sha256(f"{rec.stat().st_size}\n".encode())
        digest.update(self._reader.keys.tobytes())
        digest.update(labels.tobytes())
        # Of one width, so that folders named after the classes sort by number.
        width = len(str(num_classes - 1))
        classes = [f"{label:0{width}d}" for label in range(num_classes)]
        super().__init__(str(path), labels, classes, digest.hexdigest(), resolution=resolution)

    @property
    def content_fingerprint(self) -> str:
        """With the time of the last change of the file."""
        return hashlib.sha256(f"{self.fingerprint} {self._rec.stat().st_mtime_ns}".encode()).hexdigest()

    def key(self, row: int) -> str:
        """Record number in nine digits."""
        return f"{self._reader.keys[row]:09d}"

    def content(self, row: int, modality: str = "image") -> bytes:
        """Encoded image of a row."""
        return self._reader.content(row)


def _read_property(path: Path, num_classes: int) -> int | None:
    """Return the side of the images that a `property` file states; warn if it counts other classes."""
    if not path.is_file():
        return None
    try:
        stated, height, width = map(int, path.read_text().split("\n")[0].split(","))
    except ValueError as error:
        raise UserError(
            f"{path}: expected a first line `classes,height,width` ({error}); correct or delete the file"
        ) from error
    if stated != num_classes:
        logger.warning("%s: states %d classes, the labels reach %d; the labels are taken", path, stated, num_classes)
    return height if height == width else None
