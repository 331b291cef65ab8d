"""Face images in one folder per class."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from src.datamodules.alignment import (
    centre_crop,
    centre_crop_matrix,
    similarity_from_landmarks,
    transform_points,
    warp_image,
)
from src.datamodules.decode import BadImage, decode
from src.datamodules.image_dataset import ImageDataset
from src.datamodules.landmarks import read_landmarks
from src.datamodules.sample import Sample
from src.errors import UserError, check_choice

__all__ = ["IMAGE_SUFFIXES", "FolderDataset"]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderDataset(ImageDataset):
    """Images `root/<class>/<image>`; the class number is the rank of the folder's name.

    With landmarks the images are aligned to the template, and `landmarks` is a key of the sample; without, they are
    cropped to a square and resized.

    Args:
        root: Folder of class folders.
        size: Side of the images in pixels.
        landmarks: CSV file (see `landmarks.read_landmarks`) that names files relative to its own folder.
        missing_landmarks: What to do about images without a row in it: stop, or leave them out.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.

    Raises:
        UserError: No folder, no class folder, no image, a bad CSV file, or images without landmarks.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        size: int = 112,
        landmarks: Path | str | None = None,
        missing_landmarks: Literal["error", "skip"] = "error",
        max_bad_fraction: float = 0.01,
    ) -> None:
        check_choice("missing_landmarks", missing_landmarks, ("error", "skip"))
        self.root = Path(root)
        self.size = size
        files = list(_list_images(self.root))
        if not files:
            raise UserError(f"{root}: no image found; expected <class>/<image> with {', '.join(IMAGE_SUFFIXES)}")
        self.landmarks: torch.Tensor | None = None
        if landmarks is not None:
            files, self.landmarks = _match_landmarks(self.root, files, Path(landmarks), missing_landmarks)
            self.matrices, self.aligned = similarity_from_landmarks(self.landmarks, size)
            if degenerate := int((~self.aligned).sum()):
                logger.warning("%s: %d images have degenerate landmarks, their centre is taken", root, degenerate)
        folders = [file.partition("/")[0] for file in files]
        classes, labels = np.unique(folders, return_inverse=True)
        fingerprint = hashlib.sha256("\n".join(files).encode(errors="surrogateescape")).hexdigest()
        super().__init__(str(root), labels.astype(np.int32), classes.tolist(), fingerprint, max_bad_fraction)
        # One array instead of a list: forked loader processes would copy every page of a list by counting references.
        self._files = np.array([os.fsencode(file) for file in files])

    def key(self, index: int) -> str:
        """Path of the image below the root."""
        return os.fsdecode(self._files[index])

    def read(self, index: int) -> Sample:
        """Read, decode and crop one sample."""
        key = self.key(index)
        try:
            content = (self.root / key).read_bytes()
        except OSError as error:
            raise BadImage(str(error.strerror)) from error
        image = decode(content)
        sample = Sample(key=key, label=torch.tensor(int(self.labels[index])))  # type: ignore[typeddict-item]
        if self.landmarks is None:
            sample["image"] = centre_crop(image, self.size)
        else:
            height, width = image.shape[:2]
            matrix = self.matrices[index] if self.aligned[index] else centre_crop_matrix(height, width, self.size)
            sample["image"] = warp_image(image, matrix, self.size)
            sample["landmarks"] = transform_points(self.landmarks[index], matrix)
        return sample


def _list_images(root: Path) -> Iterator[str]:
    """Yield `<class>/<image>` in sorted order."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds one folder per class")
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    if not folders:
        raise UserError(f"{root}: holds no class folder; expected {root}/<class>/<image>")
    for folder in track(folders, f"listing {root.name}", transient=True, console=Console(stderr=True)):
        for name in sorted(os.listdir(root / folder)):
            if name.lower().endswith(IMAGE_SUFFIXES):
                yield f"{folder}/{name}"


def _match_landmarks(
    root: Path, files: list[str], path: Path, missing_landmarks: Literal["error", "skip"]
) -> tuple[list[str], torch.Tensor]:
    """Keep the files that have landmarks; return them with their points, float32 [N, 5, 2]."""
    table = read_landmarks(path)
    prefix = Path(os.path.relpath(root, path.parent)).as_posix()
    points = [table.get(file if prefix == "." else f"{prefix}/{file}") for file in files]
    missing = [file for file, found in zip(files, points, strict=True) if found is None]
    if missing and (missing_landmarks == "error" or len(missing) == len(files)):
        raise UserError(
            f"{path}: no row for {len(missing)} of {len(files)} images below {root}, first: {', '.join(missing[:3])}. "
            f"Rows name files relative to {path.parent}, such as {prefix}/{missing[0]}. Add them, or set "
            "datamodule.missing_landmarks=skip to leave these images out."
        )
    if missing:
        logger.warning("%s: left out %d images without landmarks", root, len(missing))
    kept = [(file, found) for file, found in zip(files, points, strict=True) if found is not None]
    return [file for file, _ in kept], torch.stack([found for _, found in kept])
