"""One face, for certain, from the front; and the detector of procedural faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from src.datamodules.procfaces import Profile, combine, identity, nuisance, render
from src.errors import UserError
from src.models.generation.face_template import TemplateFaceDetector
from src.models.generation.faces import Detection, FaceRule, is_centred
from src.models.generation.rules import Rule


def _landmarks(left: float, right: float, nose: float) -> Tensor:
    return torch.tensor([[left, 40.0], [right, 40.0], [nose, 60.0], [left, 80.0], [right, 80.0]])


def test_centring() -> None:
    assert is_centred(_landmarks(40, 60, 50))
    assert not is_centred(_landmarks(55, 65, 50))  # both eyes on one side of the nose
    assert not is_centred(_landmarks(40, 50, 50))
    # The nose 10 from one eye and 20 from the other: 10 < 30 / 3 does not hold.
    assert not is_centred(_landmarks(40, 70, 50), 1 / 3)
    assert is_centred(_landmarks(40, 70, 50.01), 1 / 3)
    assert is_centred(_landmarks(40, 70, 50), 0.34)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50), st.floats(0.05, 1))
def test_centring_does_not_depend_on_left_and_right(left: float, right: float, nose: float, ratio: float) -> None:
    points = _landmarks(left, right, nose)
    assert is_centred(points, ratio) == is_centred(points[[1, 0, 2, 4, 3]], ratio)


def test_order_of_the_rules() -> None:
    good, rule = Detection(0.97, _landmarks(40, 60, 50)), FaceRule()
    unsure = Detection(0.9699, _landmarks(40, 60, 70))
    assert rule([good]) is None
    assert rule([]) == Rule.NO_FACE
    assert rule([good, unsure]) == Rule.SEVERAL_FACES
    assert rule([unsure]) == Rule.UNCERTAIN_FACE
    assert rule([Detection(0.99, _landmarks(40, 60, 70))]) == Rule.OFF_CENTRE
    assert FaceRule(reject_several=False)([unsure, good]) is None
    with pytest.raises(UserError, match="face_probability: expected 0 to 1, found 97"):
        FaceRule(min_probability=97)
    with pytest.raises(UserError, match="centre_ratio"):
        FaceRule(centre_ratio=0)


@pytest.fixture(scope="module")
def detector() -> TemplateFaceDetector:
    return TemplateFaceDetector()


def _drawn(strength: float, size: int, yaw: float | None = None) -> tuple[Tensor, Tensor]:
    numbers = np.arange(24)
    turned = None if yaw is None else np.full(24, yaw)
    shots = nuisance(5, numbers, 0 * numbers, profile=Profile().scaled(strength), yaw=turned)
    rendering = render(combine(identity(5, numbers), numbers, shots), size, infrared=False)
    return (rendering.visible * 255).round().to(torch.uint8), rendering.landmarks


@pytest.mark.parametrize("size", [32, 64])
def test_procedural_faces_are_found(detector: TemplateFaceDetector, size: int) -> None:
    images, landmarks = _drawn(0.3, size)
    found = detector(images)
    errors = [float((faces[0].landmarks - true).norm(dim=1).median()) for faces, true in zip(found, landmarks) if faces]  # noqa: B905
    assert np.median(errors) < size / 30
    assert sum(FaceRule()(faces) is None for faces in found) >= 20


def test_other_images_are_not(detector: TemplateFaceDetector) -> None:
    images, _ = _drawn(0.3, 64)
    profiles, _ = _drawn(0.3, 64, yaw=60)
    noise = torch.randint(0, 256, images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rule = FaceRule()
    for others in (images.flip(2), images.roll(20, 3), profiles, noise):
        assert sum(rule(faces) is None for faces in detector(others)) <= 2
    assert detector(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)) == [[]]
