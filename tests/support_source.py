"""A collection of faces that is computed; in a module of its own, so that spawned processes can import it."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.decode import BadImage
from src.datamodules.sources.source import FaceSource, LeftOut

LANDMARKS = ARCFACE_TEMPLATE.numpy() * 0.5 + 3


def picture(seed: int, width: int, height: int, *, grey: bool = False, kind: str = "JPEG") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3) if grey else (3, 3, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(buffer, kind)
    return buffer.getvalue()


class ComputedSource(FaceSource):
    """Random smooth images; row `i` is of class `i % classes`, and its key is `<class>/<i>.jpg`.

    Args:
        images: Number of rows.
        classes: Number of classes.
        width: In pixels.
        height: In pixels.
        infrared: Whether there are two modalities.
        points: Whether there are landmarks and a box.
        bad: Rows that cannot be read.
        names: Names of the classes instead of `p00` ...
        kind: JPEG or PNG.
        delay: Seconds that reading an image takes.
        version: Part of the fingerprint.
    """

    def __init__(
        self,
        images: int = 23,
        classes: int = 4,
        *,
        width: int = 64,
        height: int = 64,
        infrared: bool = False,
        points: bool = False,
        bad: Sequence[int] = (),
        names: Sequence[str] = (),
        kind: str = "JPEG",
        delay: float = 0,
        version: int = 0,
    ) -> None:
        self.bad, self.delay, self.kind = tuple(bad), delay, kind
        self.width, self.height = width, height
        self.has_landmarks = points
        super().__init__(
            "computed",
            np.arange(images) % classes,
            names or [f"p{label:02d}" for label in range(classes)],
            f"{images} {classes} {version}",
            attributes=(np.arange(images) % 3 - 1).astype(np.int8),
            modalities=("image", "nir") if infrared else ("image",),
            left_out=[LeftOut("p00/notes.txt", "no image")],
        )

    def key(self, row: int) -> str:
        return f"{self.classes[self.labels[row]]}/{row}.jpg"

    def content(self, row: int, modality: str = "image") -> bytes:
        time.sleep(self.delay)
        if row in self.bad:
            raise BadImage("burnt")
        return picture(row, self.width, self.height, grey=modality == "nir", kind=self.kind)

    def landmarks(self, row: int) -> np.ndarray:
        return LANDMARKS.astype(np.float32)

    def metadata(self, row: int) -> dict:
        facts = super().metadata(row)
        return facts | {"box": [3.0, 3.0, 60.0, 59.0]} if self.has_landmarks else facts
