"""Photographs in one folder per person, as a set to identify people in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.datamodules.evaluation_images import ImageSource
from src.datamodules.photographs import find_images, list_images
from src.errors import UserError

__all__ = ["IdentificationSet", "read_class_folders"]


@dataclass(frozen=True)
class IdentificationSet:
    """Faces with their identities.

    Attributes:
        name: Such as ``lfw``.
        images: N images.
        labels: int64 [N], number of each image's identity.
    """

    name: str
    images: Sequence[ImageSource]
    labels: NDArray[np.int64]

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of images and identities."""
        digest = hashlib.sha256(self.labels.tobytes())
        for image in self.images:
            digest.update(image.digest())
        return digest.hexdigest()


def read_class_folders(
    root: Path | str, *, name: str, landmarks: str | None = "landmarks.csv", levels: int = 1, folder: str = "."
) -> IdentificationSet:
    """Read photographs that lie in a folder named after the person, sorted by folder and file name.

    Folders of the same name in several places are one person.

    Args:
        root: Folder with, at any depth, ``<person>/<image>.jpg``. Images right in it belong to nobody and are left out.
        name: Of the set, for messages.
        landmarks: CSV file in the root, used if it exists; None to crop by position.
        levels: Folders that an image is in from its person's on: 2 for ``<person>/<video>/<frame>.jpg``. Images in
            fewer folders belong to nobody.
        folder: Of the root; photographs outside are left out.

    Raises:
        UserError: There are no such images, two of them have the same name, or landmarks are missing.
    """
    root = Path(root)
    depth = len(Path(folder).parts) + levels
    parts = (file.rpartition(".")[0].split("/") for file in list_images(root, folder) if file.count("/") >= depth)
    files = sorted("/".join(part[-levels - 1 :]) for part in parts)
    if not files:
        form = "/".join(["<person>", *["<folder>"] * (levels - 1), "<image>.jpg"])
        raise UserError(f"{root}: holds no images in folders of people, expected {form} at any depth")
    people = [file.partition("/")[0] for file in files]
    labels = np.unique(people, return_inverse=True)[1].astype(np.int64)
    return IdentificationSet(name, find_images(root, files, levels + 1, landmarks, root), labels)
