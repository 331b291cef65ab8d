"""What every reader of a face collection offers: labelled images, still encoded, by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.datamodules.decode import BadImage
from src.datamodules.genders import GENDERS
from src.datamodules.sample import UNKNOWN
from src.errors import UserError

__all__ = ["MODALITIES", "FaceSource", "LeftOut"]

MODALITIES = ("image", "nir")
"""Visible and near-infrared image of a sample; the names are keys of `Sample`."""


@dataclass(frozen=True)
class LeftOut:
    """A file or record that is not part of a collection, and why."""

    name: str
    reason: str


class FaceSource(ABC):
    """A collection of labelled face images, read by row without decoding them.

    Sources are compact (arrays, no Python object per row) and can be pickled; files are opened on first use and
    read by position, so that any number of threads and forked processes may share one source.

    Args:
        name: Of the collection, for messages; usually its path.
        labels: int [N], class number from 0 per row.
        classes: Class name per class number.
        fingerprint: Hex digest that changes whenever the list of rows or their attributes do.
        attributes: int8 [N], 0 female, 1 male, -1 unknown; all unknown by default.
        modalities: Which of `MODALITIES` every row has.
        resolution: Side of all images in pixels where that is known and they are square.
        left_out: What was found but is not part of the collection.

    Raises:
        UserError: There is no row.
    """

    has_landmarks = False
    """Whether `landmarks` may be called."""
    has_features = False
    """Whether `feature` may be called."""

    def __init__(
        self,
        name: str,
        labels: np.ndarray,
        classes: Sequence[str],
        fingerprint: str,
        *,
        attributes: np.ndarray | None = None,
        modalities: tuple[str, ...] = ("image",),
        resolution: int | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        if len(labels) == 0:
            raise UserError(f"{name}: holds no face image")
        self.name = name
        self.labels = labels
        self.classes = list(classes)
        self.fingerprint = fingerprint
        self.attributes = np.full(len(labels), UNKNOWN, np.int8) if attributes is None else attributes
        self.modalities = modalities
        self.resolution = resolution
        self.left_out = tuple(left_out)
        self.facts: Mapping[str, Any] = {}
        """What is known of the whole collection (seed, licence ...); anything JSON can hold."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def content_fingerprint(self) -> str:
        """Hex digest that changes whenever the images, as far as can be told without reading them, or the rows do."""
        return self.fingerprint

    @property
    def class_attributes(self) -> np.ndarray:
        """Attribute of each class, that of its images of known gender: int8 [C], -1 where there is none.

        Raises:
            UserError: A class has images of both genders.
        """
        female, male = (
            np.bincount(self.labels[self.attributes == attribute], minlength=len(self.classes)) > 0
            for attribute in range(len(GENDERS))
        )
        if (both := np.flatnonzero(female & male)).size:
            raise UserError(
                f"{self.name}: {len(both)} of {len(self.classes)} people have images of both genders, the first is "
                f"{self.classes[both[0]]!r}; correct their genders, or remove the images"
            )
        return np.select([female, male], [0, 1], UNKNOWN).astype(np.int8)

    @abstractmethod
    def key(self, row: int) -> str:
        """Name of a row, unique in the collection: a path below its root, or a record number."""

    @abstractmethod
    def content(self, row: int, modality: str = "image") -> bytes:
        """Encoded image of a row.

        Args:
            row: 0 .. N - 1.
            modality: One of `modalities`.

        Raises:
            BadImage: It cannot be read; the message gives the reason but not the name.
        """

    def landmarks(self, row: int) -> np.ndarray:
        """Five points of a row, float32 [5, 2], (x, y) pixels in the order of `alignment.ARCFACE_TEMPLATE`.

        Raises:
            BadImage: This row has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no landmarks")

    def feature(self, row: int) -> np.ndarray:
        """Embedding of a row by a fixed recogniser, float32 [D].

        Raises:
            BadImage: This row has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def metadata(self, row: int) -> dict[str, Any]:
        """What is known of a row: `subject`, `label`, `attribute`, `source`, and `landmarks`, `box` ... if any.

        Everything JSON can hold; this becomes the `.json` member of a shard.
        """
        label = int(self.labels[row])
        facts: dict[str, Any] = {
            "subject": self.classes[label],
            "label": label,
            "attribute": int(self.attributes[row]),
            "source": self.key(row),
        }
        if self.has_landmarks:
            with suppress(BadImage):  # an image may do without, unless it is to be aligned
                facts["landmarks"] = self.landmarks(row).tolist()
        return facts
