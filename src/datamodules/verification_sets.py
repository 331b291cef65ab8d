"""Pairs of face images to verify: InsightFace `.bin` files, and folders with LFW, CALFW or CPLFW pair files."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from src.datamodules.bin_file import read_entries, to_flags, to_images
from src.datamodules.evaluation_images import ImageSource
from src.errors import UserError
from src.files import atomic_write

__all__ = ["VerificationSet", "read_bin", "write_bin"]


@dataclass(frozen=True)
class VerificationSet:
    """Pairs of faces, each the same person or not, in folds for cross-validation.

    Attributes:
        name: Such as `lfw`.
        images: 2P images; pair i is entries 2i and 2i + 1.
        same: bool [P].
        folds: Number of contiguous folds.

    Raises:
        UserError: Counts do not agree, or a fold lacks pairs of one kind.
    """

    name: str
    images: Sequence[ImageSource]
    same: np.ndarray
    folds: int = 10

    def __post_init__(self) -> None:
        if len(self.images) != 2 * len(self.same):
            raise UserError(f"{self.name}: {len(self.images)} images for {len(self.same)} pairs; expected two for each")
        for number, fold in enumerate(np.array_split(self.same, self.folds), start=1):
            if fold.all() or not fold.any():
                kind = "different" if fold.any() else "the same"
                raise UserError(
                    f"{self.name}: fold {number} of {self.folds} ({len(fold)} pairs) holds no pair of {kind} "
                    "person(s); every fold needs both kinds. Check the number of folds and the order of the pairs."
                )

    def __len__(self) -> int:
        return len(self.same)

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of images, pairs and folds."""
        digest = hashlib.sha256(np.packbits(self.same).tobytes() + str(self.folds).encode())
        for image in self.images:
            digest.update(image.digest())
        return digest.hexdigest()


def read_bin(path: Path | str, *, name: str | None = None, folds: int = 10) -> VerificationSet:
    """Read an InsightFace verification file: a pickled pair (2P encoded images, P flags).

    Images may be bytes (also of Python 2), bytearrays or uint8 arrays [n] or [n, 1]; flags a list or an array. The
    faces with genders that may come after them (see `gender_sets`) are left out.

    Args:
        path: The `.bin` file.
        name: Name of the set; by default the file's name without the extension.
        folds: Number of contiguous folds.

    Raises:
        UserError: Missing or damaged file, a pickle that asks for code, counts that do not agree, or a fold without
            pairs of both kinds.
    """
    path = Path(path)
    images, same = read_entries(path, "give an InsightFace .bin file")[:2]
    return VerificationSet(name or path.stem, to_images(images, f"{path}: image"), to_flags(same, str(path)), folds)


def write_bin(path: Path | str, images: Sequence[bytes], same: Iterable[bool]) -> None:
    """Write an InsightFace verification file that every NumPy and Python version reads.

    Args:
        path: File to write.
        images: 2P JPEG or PNG files; pair i is entries 2i and 2i + 1.
        same: P flags.

    Raises:
        UserError: The counts do not agree.
    """
    flags = [bool(flag) for flag in same]
    if len(images) != 2 * len(flags):
        raise UserError(f"{path}: {len(images)} images for {len(flags)} pairs; expected two for each")
    with atomic_write(path) as file:
        pickle.dump(([bytes(image) for image in images], flags), file, protocol=2)
