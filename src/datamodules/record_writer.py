"""Writing RecordIO datasets in the layouts of InsightFace and of MXNet's im2rec."""

from __future__ import annotations

from array import array
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import numpy as np

from src.datamodules.recordio import MAX_LABEL, pack, write_index
from src.errors import UserError, check_choice
from src.files import atomic_write, explain_full_disk

__all__ = ["Layout", "RecordWriter", "closing_records", "write_property"]

Layout = Literal["insightface", "im2rec"]
"""insightface: keys from 1, label [class, aligned], meta and identity records; im2rec: keys from 0, label class."""

_FILES = ("train.rec", "train.idx", "property")


def closing_records(labels: np.ndarray) -> list[tuple[int, tuple[int, int]]]:
    """Meta and identity records, which follow the images (keys 1 .. N) in a file of layout insightface.

    Each is stored as `pack(label, b"", key)`.

    Args:
        labels: int [N], class number per image in file order; the images of a class follow one another.

    Returns:
        Key and label of each record in file order: first the meta record, key 0, label [N + 1, N + 1 + C], then per
        class a record, keys N + 1 .. N + C, label [key of its first image, key after its last].

    Raises:
        UserError: The images of a class do not follow one another.
    """
    first = np.flatnonzero(np.diff(labels, prepend=-1))
    if len(np.unique(labels[first])) < len(first):
        raise UserError("layout insightface: the images of each class must follow one another; sort them by class")
    bounds = np.append(first, len(labels)) + 1
    ranges = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    after = len(labels) + 1
    return [(0, (after, after + len(ranges))), *enumerate(ranges, start=after)]


def write_property(path: Path | str, num_classes: int, resolution: int) -> None:
    """Write the file `property`, one line `classes,height,width`, that InsightFace's loaders look for."""
    with atomic_write(path, "w") as file:
        file.write(f"{num_classes},{resolution},{resolution}\n")


class RecordWriter:
    """Writes a folder with `train.rec`, `train.idx` and, for layout insightface, `property`.

    The data grow under a temporary name; `train.rec` appears last, when all is whole. After an exception nothing is
    left behind. The same images in the same order give the same bytes.

    Args:
        root: Folder to write; it must hold none of these files yet.
        layout: See `Layout`. In layout insightface the images of a class must follow one another.
        resolution: Side of the square images in pixels, for `property`.

    Raises:
        UserError: The folder already holds one of them.
    """

    def __init__(self, root: Path | str, layout: Layout = "insightface", *, resolution: int) -> None:
        check_choice("layout", layout, ("insightface", "im2rec"))
        self.root = Path(root)
        self.layout = layout
        self.resolution = resolution
        self._keys, self._offsets, self._labels = array("q"), array("q"), array("q")
        self._classes: set[int] = set()
        self._size = 0
        self._file: IO[bytes]
        if found := next((path for name in _FILES if (path := self.root / name).exists()), None):
            raise UserError(f"{found}: exists already; choose another folder, or delete the dataset in it")

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(atomic_write(self.root / "train.rec"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with explain_full_disk(self.root, "nothing was kept"), self._stack:
                if error is not None:
                    raise error
                self._finish()
        except BaseException:
            for name in _FILES:
                (self.root / name).unlink(missing_ok=True)
            raise

    def add(self, content: bytes, label: int, aligned: int = 1) -> None:
        """Append one image.

        Args:
            content: Encoded image (JPEG or PNG).
            label: Class number, 0 .. 2^24.
            aligned: Second label of layout insightface: 1 if the face is aligned.

        Raises:
            UserError: Bad class number, a class whose images do not follow one another, or too many images.
        """
        if label < 0:
            raise UserError(f"{self.root}: image {len(self._labels)} has the label {label}; expected 0 .. {MAX_LABEL}")
        if self.layout == "im2rec":
            self._append(label, content, len(self._labels))
        else:
            self._check_group(label)
            self._append((label, aligned), content, len(self._labels) + 1)
        self._labels.append(label)

    def _check_group(self, label: int) -> None:
        if not self._labels or label != self._labels[-1]:
            if label in self._classes:
                raise UserError(
                    f"{self.root}: image {len(self._labels)} is of class {label}, which had ended before; layout "
                    "insightface needs the images of a class together. Sort them by class, or write layout im2rec."
                )
            self._classes.add(label)
        if len(self._labels) + 1 + len(self._classes) + 1 > MAX_LABEL:  # the largest number in the meta record
            raise UserError(
                f"{self.root}: {len(self._labels) + 1} images are too many for layout insightface, which stores their "
                "keys as float32; write layout im2rec, or shards"
            )

    def _append(self, label: float | tuple[float, float], content: bytes, key: int) -> None:
        record = pack(label, content, key)
        self._file.write(record)
        self._keys.append(key)
        self._offsets.append(self._size)
        self._size += len(record)

    def _finish(self) -> None:
        if not self._labels:
            raise UserError(f"{self.root}: no image was written; a dataset holds at least one")
        labels = np.frombuffer(self._labels, np.int64)
        if self.layout == "insightface":
            for key, label in closing_records(labels):
                self._append(label, b"", key)
            write_property(self.root / "property", int(labels.max()) + 1, self.resolution)
        keys, offsets = np.frombuffer(self._keys, np.int64), np.frombuffer(self._offsets, np.int64)
        write_index(self.root / "train.idx", keys, offsets)
