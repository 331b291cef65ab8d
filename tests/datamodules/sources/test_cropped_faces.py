from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.datamodules.decode import decode
from src.datamodules.sources.cropped_faces import CroppedFaces, box_square, crop_square
from src.datamodules.sources.image_list import ImageList
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

POINTS = "107 107 147 111 124 143 103 157 139 161"


@pytest.fixture
def photographs(tmp_path: Path) -> Callable[..., FaceSource]:
    """A photograph of 250 pixels, with and without its boxes."""
    pixels = np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8)
    (tmp_path / "Ann").mkdir()
    Image.fromarray(pixels).save(tmp_path / "Ann" / "1.png")
    (tmp_path / "list.txt").write_text(f"Ann/1.png {POINTS}\n")
    (tmp_path / "boxes.txt").write_text("Ann/1.png 80 70 170 190 0.99\nAnn/1.png 0 0 9 9\n")
    options = {"root": tmp_path, "list_file": tmp_path / "list.txt", "columns": "path_landmarks"}
    return lambda boxes=True: ImageList(**options, boxes=tmp_path / "boxes.txt" if boxes else None)


def test_published_example(photographs: Callable[..., FaceSource]) -> None:
    source = CroppedFaces(photographs())
    whole, crop = (decode(found.content(0)).numpy() for found in (source.source, source))
    np.testing.assert_array_equal(crop, whole[40:220, 35:215])
    assert source.landmarks(0)[0].tolist() == [107 - 35, 107 - 40]
    metadata = source.metadata(0)
    assert metadata["box"] == [45, 30, 135, 150]
    assert metadata["landmarks"][1] == [147 - 35, 111 - 40]
    assert source.fingerprint != source.source.fingerprint


def test_crops_go_on_beyond_the_edges() -> None:
    assert box_square([-10, 0, 10, 10]) == (-20, -15, 40)
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    crop = crop_square(image, -1, -2, 7)
    assert crop.shape == (7, 7, 1)
    assert crop[2:5, 1:5, 0].tolist() == image[..., 0].tolist()
    assert crop[2, :, 0].tolist() == [1, 0, 1, 2, 3, 2, 1]
    assert crop[:, 1, 0].tolist() == [8, 4, 0, 4, 8, 4, 0]


def test_boxes_are_needed(photographs: Callable[..., FaceSource]) -> None:
    with pytest.raises(UserError, match="has no boxes to crop by"):
        CroppedFaces(photographs(boxes=False))
