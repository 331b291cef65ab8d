"""From encoded faces to batches: cropping or alignment, labels, skipping of unreadable images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from src.datamodules.alignment import (
    centre_crop,
    centre_crop_matrix,
    similarity_from_landmarks,
    transform_points,
    warp_image,
)
from src.datamodules.decode import BadImage, decode, decode_into, inspect
from src.datamodules.sample import Sample
from src.datamodules.sources.source import MODALITIES, FaceSource
from src.errors import UserError

__all__ = ["FIELDS", "EncodedFace", "Face", "FaceDataset"]

logger = logging.getLogger(__name__)

FIELDS = (*MODALITIES, "label", "attribute", "feature", "landmarks")
"""The sample keys that may be asked for; `key` always comes with them."""

_CHANNELS = {"image": 3, "nir": 1}
_EXAMPLES = 3


@dataclass(slots=True)
class Face:
    """What comes with the images of one face.

    Attributes:
        row: Its row in the source.
        landmarks: float32 [5, 2], pixels of the crop of the visible image, if asked for.
        feature: float32 [D], if asked for.
    """

    row: int
    landmarks: torch.Tensor | None
    feature: torch.Tensor | None


@dataclass(slots=True)
class EncodedFace(Face):
    """One face before its images are decoded.

    Attributes:
        images: Modality -> encoded image.
        sizes: Modality -> height and width in pixels.
        matrices: Modality -> float64 [2, 3], image pixels to crop pixels; empty if nobody asks for landmarks.
    """

    images: dict[str, bytes]
    sizes: dict[str, tuple[int, int]]
    matrices: dict[str, torch.Tensor]


class FaceDataset:
    """Batches of labelled faces of one size.

    Without alignment, images are cropped to a square in the middle and resized.

    Args:
        source: Where the encoded images come from.
        size: Side of the images in pixels.
        fields: Sample keys to yield besides `key`, of `FIELDS`.
        align: Align the images to the template by the landmarks of the source.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.

    Raises:
        UserError: The source does not offer a field, or no landmarks to align by.
    """

    def __init__(
        self,
        source: FaceSource,
        *,
        size: int = 112,
        fields: Sequence[str] = ("image", "label"),
        align: bool = False,
        max_bad_fraction: float = 0.01,
    ) -> None:
        self.source = source
        self.size = size
        self.fields = tuple(fields)
        self.align = align
        self.max_bad_fraction = max_bad_fraction
        self.unreadable: dict[int, str] = {}
        """Row -> why it cannot be read, of all that were tried."""
        self.unaligned: set[int] = set()
        """Rows whose landmarks determine no alignment; their centre is taken."""
        self.modalities = tuple(name for name in MODALITIES if name in self.fields)
        self._needs_landmarks = align or "landmarks" in self.fields
        self._check_fields()

    def _check_fields(self) -> None:
        name = self.source.name
        if unknown := sorted(set(self.fields) - set(FIELDS)):
            raise UserError(f"{name}: unknown field {unknown[0]!r}; choose from {', '.join(FIELDS)}")
        offered = {*self.source.modalities, "label", "attribute"}
        offered |= {"landmarks"} if self.source.has_landmarks else set()
        offered |= {"feature"} if self.source.has_features else set()
        if absent := [field for field in self.fields if field not in offered]:
            raise UserError(
                f"{name}: its samples do not all have the field {absent[0]!r}; "
                f"they have {', '.join(field for field in FIELDS if field in offered)}"
            )
        if self.align and "landmarks" not in offered:
            raise UserError(f"{name}: its samples have no landmarks to align by; set datamodule.align=false")
        if "landmarks" in self.fields and "image" not in self.fields:
            raise UserError(f"{name}: the field 'landmarks' needs 'image' beside it, whose pixels it counts")

    @property
    def name(self) -> str:
        """Name of the source, for messages."""
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    @property
    def is_cropped(self) -> bool:
        """Whether the images are known to have the wanted size, so that decoding is all there is to do."""
        return not self.align and self.source.resolution == self.size

    def read(self, rows: Iterable[int], *, pin_memory: bool = False) -> Sample:
        """Read and decode a batch; unreadable images are left out and noted in `unreadable`.

        Args:
            rows: Rows of the source.
            pin_memory: Put the images in page-locked memory, for faster transfer to a GPU.

        Returns:
            The readable samples in the order of `rows`, images uint8 [B, size, size, C]; empty if there is none.
        """
        rows = list(rows)
        images = {name: self._allocate(len(rows), _CHANNELS[name], pin_memory) for name in self.modalities}
        arrays = {name: batch.numpy() for name, batch in images.items()}
        readable: list[Face] = []
        for row in map(int, rows):
            try:
                readable.append(self._read(row, {name: array[len(readable)] for name, array in arrays.items()}))
            except BadImage as error:
                self.unreadable[row] = str(error)
        return self.assemble(readable, {name: batch[: len(readable)] for name, batch in images.items()})

    def _allocate(self, count: int, channels: int, pin_memory: bool) -> torch.Tensor:
        shape = (count, self.size, self.size, channels)
        if pin_memory:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        # NumPy's memory is reused from batch to batch; torch's own comes from the system every time, page by page.
        return torch.from_numpy(np.empty(shape, np.uint8))

    def _read(self, row: int, crops: dict[str, np.ndarray]) -> Face:
        """Read one face and decode its images into `crops`, uint8 [size, size, C]."""
        landmarks = self._source_landmarks(row) if self._needs_landmarks else None
        matrices = {}
        for name, crop in crops.items():
            content = self.source.content(row, name)
            # The usual case, and the reason why no header is read before: every release of Python's lock counts.
            if landmarks is None and decode_into(content, crop):
                continue
            image = decode(content, grey=name == "nir")
            if landmarks is not None:
                matrices[name] = self._matrix(row, (image.shape[0], image.shape[1]), landmarks)
            crop[:] = warp_image(image, matrices[name], self.size) if self.align else centre_crop(image, self.size)
        return Face(row, *self._extras(row, landmarks, matrices))

    def encoded(self, rows: Iterable[int]) -> list[EncodedFace]:
        """Read a batch without decoding it; what cannot be read is left out and noted in `unreadable`."""
        faces = []
        for row in map(int, rows):
            try:
                faces.append(self._encoded(row))
            except BadImage as error:
                self.unreadable[row] = str(error)
        return faces

    def _encoded(self, row: int) -> EncodedFace:
        images = {name: self.source.content(row, name) for name in self.modalities}
        sizes = {name: inspect(content) for name, content in images.items()}
        landmarks = self._source_landmarks(row) if self._needs_landmarks else None
        matrices = {}
        if landmarks is not None:
            matrices = {name: self._matrix(row, size, landmarks) for name, size in sizes.items()}
        return EncodedFace(row, *self._extras(row, landmarks, matrices), images, sizes, matrices)

    def _source_landmarks(self, row: int) -> torch.Tensor:
        return torch.from_numpy(self.source.landmarks(row))

    def _extras(
        self, row: int, landmarks: torch.Tensor | None, matrices: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Landmarks in pixels of the crop, and feature."""
        if landmarks is not None and "image" in matrices:
            landmarks = transform_points(landmarks, matrices["image"])
        return landmarks, torch.from_numpy(self.source.feature(row)) if "feature" in self.fields else None

    def _matrix(self, row: int, size: tuple[int, int], landmarks: torch.Tensor) -> torch.Tensor:
        if not self.align:
            return centre_crop_matrix(*size, self.size)
        matrices, valid = similarity_from_landmarks(landmarks[None], self.size, image_size=size)
        if not valid:
            self.unaligned.add(row)
        return matrices[0]

    def assemble(self, faces: Sequence[Face], images: dict[str, torch.Tensor]) -> Sample:
        """Join decoded images with all else that was asked for.

        Args:
            faces: B faces of one batch.
            images: Modality -> uint8 [B, size, size, C].

        Returns:
            The batch; empty if B is 0.
        """
        if not faces:
            return Sample()
        rows = np.array([face.row for face in faces])
        sample: dict[str, Any] = {"key": [self.source.key(face.row) for face in faces], **images}
        if "label" in self.fields:
            sample["label"] = torch.from_numpy(self.source.labels[rows].astype(np.int64))
        if "attribute" in self.fields:
            sample["attribute"] = torch.from_numpy(self.source.attributes[rows].astype(np.int64))
        for name in {"landmarks", "feature"} & set(self.fields):
            sample[name] = torch.stack([getattr(face, name) for face in faces])
        return cast(Sample, sample)

    def check_readable(self) -> None:
        """Stop when too many images turned out unreadable.

        Raises:
            UserError: Names the first of them and the reasons.
        """
        count = len(self.unreadable)
        if count > self.max_bad_fraction * len(self):
            raise UserError(
                f"{self.name}: {count} of {len(self)} images so far cannot be read, more than "
                f"max_bad_fraction={self.max_bad_fraction} allows. First: {self._describe_unreadable()}. "
                "Repair or remove them, or raise datamodule.max_bad_fraction."
            )

    def report_unreadable(self) -> None:
        """Log how many images were skipped or not aligned, if any were."""
        if count := len(self.unreadable):
            first = self._describe_unreadable()
            logger.warning("%s: skipped %d of %d images that cannot be read: %s", self.name, count, len(self), first)
        if count := len(self.unaligned):
            example = self.source.key(min(self.unaligned))
            logger.warning(
                "%s: took the centre of %d of %d images, their landmarks are degenerate, such as those of %s",
                self.name, count, len(self), example,
            )  # fmt: skip

    def _describe_unreadable(self) -> str:
        # A copy: decoding threads still write to the original.
        first = sorted(self.unreadable.copy().items())[:_EXAMPLES]
        return "; ".join(f"{self.source.key(row)}: {reason}" for row, reason in first)

    def check_classes(self) -> None:
        """Check that identities can be learned from this dataset.

        Raises:
            UserError: Only one class, or no class with two images.
        """
        counts = np.bincount(self.source.labels)
        counts = counts[counts > 0]
        if len(counts) < 2:
            raise UserError(
                f"{self.name}: only one class ({self.source.classes[int(self.source.labels[0])]!r}); telling "
                "identities apart needs at least two. Is the folder one level too deep?"
            )
        if counts.max() < 2:
            raise UserError(
                f"{self.name}: each of the {len(counts)} classes has a single image, so no identity can be learned; "
                "expected several images per class"
            )
        if single := int((counts == 1).sum()):
            logger.warning("%s: %d of %d classes have a single image", self.name, single, len(counts))
