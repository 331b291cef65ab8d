"""Face images of an InsightFace verification file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from src.datamodules.evaluation_images import EncodedImage
from src.datamodules.sources.source import FaceSource
from src.datamodules.verification_sets import read_bin

__all__ = ["BinSource"]

logger = logging.getLogger(__name__)


class BinSource(FaceSource):
    """The 2P images of a `.bin` file: lfw, cfp_fp, agedb_30 ...

    The file tells pairs but no names: images are taken for the same person as far as pairs marked `same`, and images
    that occur more than once, connect them. Classes are numbered by their first image. One person may thus be several
    classes; for training use a real training set.

    Args:
        path: The `.bin` file.

    Raises:
        UserError: Missing or damaged file, a pickle that asks for code, or pairs of one kind only.
    """

    def __init__(self, path: Path | str) -> None:
        pairs = read_bin(path, folds=1)
        self._contents = [image.content for image in pairs.images if isinstance(image, EncodedImage)]
        self._same = pairs.same
        labels = _connect(self._contents, pairs.same)
        if contradictions := int((~pairs.same & (labels[0::2] == labels[1::2])).sum()):
            logger.warning("%s: %d pairs marked different are of one class by other pairs", path, contradictions)
        classes = [str(label) for label in range(labels.max() + 1)]
        super().__init__(str(path), labels, classes, pairs.fingerprint)

    def key(self, row: int) -> str:
        """Row in nine digits; rows 2i and 2i + 1 are pair i."""
        return f"{row:09d}"

    def content(self, row: int, modality: str = "image") -> bytes:
        """Encoded image of a row."""
        return self._contents[row]

    def metadata(self, row: int) -> dict[str, Any]:
        """What is known of a row, with `pair` (int) and `same` (bool, of that pair)."""
        return super().metadata(row) | {"pair": row // 2, "same": bool(self._same[row // 2])}


def _connect(contents: list[bytes], same: np.ndarray) -> np.ndarray:
    """Number the connected components of images, int32 [2P], in the order of their first image."""
    parent = list(range(len(contents)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    first = {content: row for row, content in reversed(list(enumerate(contents)))}
    edges = [(first[content], row) for row, content in enumerate(contents)]
    edges += [(2 * pair, 2 * pair + 1) for pair in np.flatnonzero(same).tolist()]
    for left, right in edges:
        # The smallest row of a component is its root, so that roots are in the order of first images.
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    roots = [root(row) for row in range(len(contents))]
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)
