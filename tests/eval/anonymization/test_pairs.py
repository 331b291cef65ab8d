"""Faces as a transformer sees them, aligned or as photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support_anonymization import face_pairs

from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.evaluation_images import ImageFile
from src.datamodules.verification_sets import VerificationSet
from src.errors import UserError
from src.eval.anonymization.pairs import FacePairs


@pytest.fixture
def photographs(tmp_path: Path) -> VerificationSet:
    """A pair of each kind, whose images have a white square around each landmark."""
    points = ARCFACE_TEMPLATE.float() + 40
    images = []
    for number in range(4):
        pixels = np.zeros((200, 200, 3), np.uint8)
        for x, y in points.round().int().tolist():
            pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        images.append(ImageFile(path, points))
    return VerificationSet("photographs", images, np.array([True, False]), 1)


def test_whole_photographs_keep_their_landmarks(photographs: VerificationSet) -> None:
    images, landmarks = FacePairs.of(photographs, 50, "photograph").load(np.arange(4))
    assert images.shape == (4, 3, 50, 50)
    for x, y in landmarks[0].round().long().tolist():
        assert images[0, 0, y, x] > 0.5
    assert images[0].mean() < -0.8


def test_aligned_faces_have_the_landmarks_of_the_template(photographs: VerificationSet) -> None:
    images, landmarks = FacePairs.of(photographs, 112).load(np.arange(1))
    torch.testing.assert_close(landmarks[0], ARCFACE_TEMPLATE.float())
    assert all(images[0, 0, y, x] > 0.5 for x, y in landmarks[0].round().long().tolist())


def test_photographs_need_landmarks() -> None:
    with pytest.raises(UserError, match="has no landmarks"):
        face_pairs(framing="photograph")


@pytest.mark.parametrize("options", [{"framing": "wide"}, {"limit": 0}])
def test_wrong_options(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="anonymization"):
        face_pairs(**options)
