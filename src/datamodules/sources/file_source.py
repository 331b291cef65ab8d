"""What sources of single image files have in common."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.datamodules.decode import BadImage
from src.datamodules.sample import UNKNOWN
from src.datamodules.sources.source import FaceSource, LeftOut
from src.datamodules.storage import Location
from src.errors import UserError

__all__ = ["IMAGE_SUFFIXES", "FileSource", "natural_key", "select_images"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Of the files that can be decoded."""

_OTHER_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".jp2", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


class FileSource(FaceSource):
    """Rows are image files below one root; the key of a row is the path of its (visible) image there.

    Args:
        root: The folder.
        files: Modality -> N names below the root.
        labels: int [N], class number per row.
        classes: Class name per class number.
        attributes: int8 [N], 0 female, 1 male, -1 unknown; all unknown by default.
        points: float32 [N, 5, 2], landmarks in pixels of the file, if there are any.
        left_out: What was found but is not part of the collection.
    """

    def __init__(
        self,
        root: Location,
        files: Mapping[str, Sequence[str]],
        labels: np.ndarray,
        classes: Sequence[str],
        *,
        attributes: np.ndarray | None = None,
        points: np.ndarray | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        digest = hashlib.sha256(labels.astype("<i8").tobytes())
        for names in files.values():
            digest.update("\n".join(names).encode(errors="surrogateescape"))
        if attributes is not None and (attributes != UNKNOWN).any():
            digest.update(attributes.tobytes())
        super().__init__(
            str(root),
            labels,
            classes,
            digest.hexdigest(),
            attributes=attributes,
            modalities=tuple(files),
            left_out=left_out,
        )
        self.root = root
        self.has_landmarks = points is not None
        self._points = points
        # Arrays instead of lists: forked processes would copy every page of a list by counting references.
        self._files = {modality: np.array([os.fsencode(name) for name in names]) for modality, names in files.items()}

    @property
    def content_fingerprint(self) -> str:
        """With landmarks and, of local files, sizes and times of the last change.

        Raises:
            UserError: A file is gone.
        """
        digest = hashlib.sha256(self.fingerprint.encode())
        if self._points is not None:
            digest.update(self._points.tobytes())
        if self.root.is_local:
            for names in self._files.values():
                for name in names:
                    digest.update(_state(self.root.path / os.fsdecode(name)))
        return digest.hexdigest()

    def key(self, row: int) -> str:
        """Path of the image below the root."""
        return os.fsdecode(self._files["image"][row])

    def content(self, row: int, modality: str = "image") -> bytes:
        """The bytes of a file."""
        try:
            return (self.root / os.fsdecode(self._files[modality][row])).read_bytes()
        except UserError as error:
            cause = error.__cause__
            raise BadImage(str(getattr(cause, "strerror", None) or cause or error)) from error

    def landmarks(self, row: int) -> np.ndarray:
        """Five points of a row, float32 [5, 2], in pixels of its file."""
        assert self._points is not None
        return self._points[row]


def _state(path: Path) -> bytes:
    """Size and time of the last change."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return f"{status.st_size} {status.st_mtime_ns} ".encode()


def select_images(names: Sequence[str]) -> tuple[list[str], list[LeftOut]]:
    """Tell images that can be decoded from those that cannot; files that are no images are dropped.

    Args:
        names: Of files.

    Returns:
        The images in their order, and those left out.
    """
    images, left_out = [], []
    for name in names:
        suffix = os.path.splitext(name)[1].lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(name)
        elif suffix in _OTHER_SUFFIXES:
            left_out.append(LeftOut(name, f"no image format that is read, expected {', '.join(IMAGE_SUFFIXES)}"))
    return images, left_out


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Key to sort by that takes the numbers in a text by their value: `a9` comes before `a10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", text)], text
