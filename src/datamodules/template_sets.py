"""Sets of templates: groups of images that stand for a person together, to be compared or searched for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from src.datamodules.evaluation_images import ImageFile, ImageSource
from src.errors import UserError

__all__ = ["ImageFiles", "TemplatePairs", "TemplateSearch", "TemplateSet"]

Integers = NDArray[np.int32] | NDArray[np.int64]


class ImageFiles(Sequence[ImageSource]):
    """Image files below a folder. Half a million of them take some 50 MB, landmarks included.

    Args:
        folder: Where they are.
        names: Path of each, relative to the folder.
        landmarks: float32 [N, 5, 2] in pixels to align them by; None if they are aligned.
    """

    def __init__(self, folder: Path, names: Sequence[str], landmarks: NDArray[np.float32] | None = None) -> None:
        if landmarks is not None and landmarks.shape != (len(names), 5, 2):
            raise ValueError(f"landmarks of shape {landmarks.shape} for {len(names)} images")
        self.folder = folder
        self.landmarks = landmarks
        encoded = [os.fsencode(name) for name in names]
        self._names = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> ImageFile: ...

    @overload
    def __getitem__(self, index: slice) -> list[ImageFile]: ...

    def __getitem__(self, index: int | slice) -> ImageFile | list[ImageFile]:
        """Make the source of an image."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        landmarks = None if self.landmarks is None else torch.from_numpy(self.landmarks[index])
        return ImageFile(self.folder / self.name(index), landmarks)

    def name(self, index: int) -> str:
        """Path of an image, relative to the folder."""
        return os.fsdecode(self._names[self._ends[index] : self._ends[index + 1]])

    def digest(self) -> bytes:
        """SHA-256 of all names, sizes, times of the last change and landmarks; the images are not read.

        Raises:
            UserError: An image is gone.
        """
        digest = hashlib.sha256(self._names + self._ends.tobytes())
        facts = np.empty((len(self), 2), dtype=np.int64)
        for index in range(len(self)):
            path = os.path.join(self.folder, self.name(index))
            try:
                status = os.stat(path)
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror})") from error
            facts[index] = status.st_size, status.st_mtime_ns
        digest.update(facts.tobytes())
        if self.landmarks is not None:
            digest.update(self.landmarks.tobytes())
        return digest.digest()


@dataclass(frozen=True)
class TemplatePairs:
    """Templates to compare.

    Attributes:
        first: [P] number of the one template.
        second: [P] number of the other.
        same: bool [P], true where they are of the same person.
        folds: Number of contiguous folds to report accuracy over; None if the protocol has none.
    """

    first: Integers
    second: Integers
    same: NDArray[np.bool_]
    folds: int | None = None

    def __len__(self) -> int:
        return len(self.same)


@dataclass(frozen=True)
class TemplateSearch:
    """A gallery, and the probes that are searched for in it.

    Attributes:
        gallery: [G] numbers of the enrolled templates.
        gallery_subject: [G] whom each of them shows.
        probe: [Q] numbers of the templates to identify.
        probe_subject: [Q] whom they show.
    """

    gallery: Integers
    gallery_subject: Integers
    probe: Integers
    probe_subject: Integers

    @property
    def mated(self) -> NDArray[np.bool_]:
        """[Q] whether the gallery shows the probe's subject."""
        return np.isin(self.probe_subject, self.gallery_subject)


@dataclass(frozen=True)
class TemplateSet:
    """Images in templates, what to compare and what to search for.

    A template holds media, i.e. stills and videos; a medium holds one or more images.

    Attributes:
        name: Such as `ijbc`.
        images: N images.
        template: [N] number of each image's template, 0 .. T - 1, every one of which occurs.
        medium: [N] which images of a template belong together; the same number in another template is another medium.
        weight: float32 [N], how sure the face detector was; 1 where nothing is known.
        pairs: Templates to compare, if the protocol has such.
        searches: One for each gallery; probes may be searched for in several.
        unaligned: Images whose landmarks determine no alignment, so that their centre is taken.

    Raises:
        UserError: A weight is negative or not finite, or no probe of a search is mated.
    """

    name: str
    images: ImageFiles
    template: Integers
    medium: Integers
    weight: NDArray[np.float32]
    pairs: TemplatePairs | None = None
    searches: tuple[TemplateSearch, ...] = ()
    unaligned: int = 0

    def __post_init__(self) -> None:
        count = len(self.images)
        for array in (self.template, self.medium, self.weight):
            if array.shape != (count,):
                raise ValueError(f"{self.name}: shape {array.shape} for {count} images")
        bad = np.flatnonzero(~(np.isfinite(self.weight) & (self.weight >= 0)))
        if len(bad):
            raise UserError(
                f"{self.name}: {len(bad)} detector scores are negative or not finite, first: "
                f"{self.weight[bad[0]]} of {self.images.name(bad[0])!r}; expected numbers from 0 to 1"
            )

        if not all(search.mated.any() for search in self.searches):
            raise UserError(f"{self.name}: no probe shows a subject of the gallery; take all files from one release")

    def __len__(self) -> int:
        return len(self.first_image)

    @property
    def has_open_set(self) -> bool:
        """Whether there are searches, and in each of them probes whose subject is not in the gallery."""
        return bool(self.searches) and not any(search.mated.all() for search in self.searches)

    @cached_property
    def first_image(self) -> NDArray[np.intp]:
        """[T] number of the first image of each template."""
        return np.unique(self.template, return_index=True)[1]

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of the images and of their templates, media and weights."""
        digest = hashlib.sha256(self.images.digest())
        arrays: tuple[NDArray[Any], ...] = (self.template, self.medium, self.weight)
        for array in arrays:
            digest.update(array.tobytes())
        return digest.hexdigest()
