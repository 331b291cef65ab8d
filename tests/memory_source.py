"""A collection of faces held in memory, for tests that need to choose its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from src.datamodules.decode import BadImage
from src.datamodules.sources.source import FaceSource


class MemorySource(FaceSource):
    """Encoded images given as lists.

    Args:
        images: Modality -> encoded images; None stands for a file that cannot be read.
        labels: Class numbers; all 0 by default.
        attributes: 0 female, 1 male, -1 unknown.
        landmarks: [N, 5, 2].
        features: [N, D].
        resolution: Side of all images, if known.
    """

    def __init__(
        self,
        images: Mapping[str, Sequence[bytes | None]],
        labels: Sequence[int] | np.ndarray | None = None,
        *,
        attributes: Sequence[int] | None = None,
        landmarks: np.ndarray | None = None,
        features: np.ndarray | None = None,
        resolution: int | None = None,
    ) -> None:
        count = len(next(iter(images.values())))
        self.images = {name: list(contents) for name, contents in images.items()}
        self.points, self.features = landmarks, features
        self.has_landmarks, self.has_features = landmarks is not None, features is not None
        labels = np.zeros(count, np.int32) if labels is None else np.asarray(labels, np.int32)
        super().__init__(
            "memory",
            labels,
            [f"person {label}" for label in range(labels.max() + 1)],
            f"memory {count}",
            attributes=None if attributes is None else np.asarray(attributes, np.int8),
            modalities=tuple(images),
            resolution=resolution,
        )

    def key(self, row: int) -> str:
        return f"{row:05d}"

    def content(self, row: int, modality: str = "image") -> bytes:
        content = self.images[modality][row]
        if content is None:
            raise BadImage("gone")
        return content

    def landmarks(self, row: int) -> np.ndarray:
        assert self.points is not None
        return self.points[row].astype(np.float32)

    def feature(self, row: int) -> np.ndarray:
        assert self.features is not None
        return self.features[row].astype(np.float32)
