from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_source import LANDMARKS, ComputedSource, picture

from src.datamodules.alignment import ARCFACE_TEMPLATE, align, centre_crop
from src.datamodules.decode import BadImage, decode
from src.datamodules.preparation.transform import FaceTransform
from src.errors import UserError


def test_without_a_size_the_bytes_are_kept() -> None:
    face = FaceTransform().apply(ComputedSource(points=True, infrared=True, width=50, height=64), 5)
    assert face.images == {"image": picture(5, 50, 64), "nir": picture(5, 50, 64, grey=True)}
    assert face.metadata["landmarks"] == LANDMARKS.astype(np.float32).tolist()
    assert face.metadata["box"] == [3.0, 3.0, 60.0, 59.0]
    assert (face.row, face.key, face.side, face.degenerate) == (5, "p01/5.jpg", 0, False)


def test_images_of_the_size_are_kept() -> None:
    source = ComputedSource(points=True)
    face = FaceTransform(size=64).apply(source, 5)
    assert face.images["image"] == picture(5, 64, 64)
    assert face.metadata == source.metadata(5)
    assert face.side == 64


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_centre_crop(kind: str) -> None:
    face = FaceTransform(size=32, quality=100).apply(ComputedSource(points=True, width=80, kind=kind), 0)
    stored = decode(face.images["image"]).float()
    assert face.images["image"].startswith(b"\xff\xd8")
    expected = centre_crop(decode(picture(0, 80, 64, kind=kind)), 32).float()
    assert (stored - expected).abs().mean() < 1
    # 8 pixels fall off at the left, then everything is halved about pixel edges.
    np.testing.assert_allclose(face.metadata["landmarks"], (LANDMARKS - [8, 0] + 0.5) / 2 - 0.5, atol=1e-3)
    assert face.metadata["box"] == [-2.75, 1.25, 25.75, 29.25]


def test_alignment_brings_both_modalities_to_the_template() -> None:
    source = ComputedSource(points=True, infrared=True)
    face = FaceTransform(size=112, align=True, quality=100).apply(source, 3)
    np.testing.assert_allclose(face.metadata["landmarks"], ARCFACE_TEMPLATE.numpy(), atol=2e-3)
    for modality, grey in (("image", False), ("nir", True)):
        stored = decode(face.images[modality], grey=grey)
        expected = align(decode(picture(3, 64, 64, grey=grey), grey=grey), torch.from_numpy(source.landmarks(3)))
        assert stored.shape == expected.shape == (112, 112, 1 if grey else 3)
        assert (stored.float() - expected.float()).abs().mean() < 1
    # The points lie at half the template plus 3.
    np.testing.assert_allclose(face.metadata["box"], [0, 0, 114, 112], atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(angle=st.floats(-3, 3), scale=st.floats(0.3, 2), shift=st.floats(-20, 20))
def test_aligned_landmarks_do_not_depend_on_the_pose(angle: float, scale: float, shift: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = ComputedSource(points=True)
    source.landmarks = lambda row: LANDMARKS @ turn.T + shift  # type: ignore[method-assign]
    face = FaceTransform(size=56, align=True).apply(source, 0)
    np.testing.assert_allclose(face.metadata["landmarks"], ARCFACE_TEMPLATE.numpy() / 2, atol=2e-3)
    assert not face.degenerate


def test_useless_landmarks_take_the_centre() -> None:
    source = ComputedSource(points=True)
    source.landmarks = lambda row: np.zeros((5, 2))  # type: ignore[method-assign]
    face = FaceTransform(size=32, align=True).apply(source, 0)
    assert face.degenerate
    assert np.allclose(face.metadata["landmarks"], -0.25)


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadImage, match="burnt"):
        FaceTransform().apply(ComputedSource(bad=[2]), 2)
    source = ComputedSource()
    source.content = lambda row, modality="image": picture(0, 64, 64)[:-200]  # type: ignore[method-assign]
    with pytest.raises(BadImage, match="truncated"):
        FaceTransform().apply(source, 0)


def test_one_alignment_needs_one_size() -> None:
    source = ComputedSource(points=True, infrared=True)
    source.content = lambda row, modality="image": picture(0, 64 if modality == "nir" else 60, 64)  # type: ignore
    with pytest.raises(BadImage, match="differ in size"):
        FaceTransform(size=32, align=True).apply(source, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 4}, "size: expected null or 8 to 4096 pixels, found 4"),
        ({"size": "big"}, "found 'big'"),
        ({"size": 64, "quality": 0}, "quality: expected 1 to 100, found 0"),
        ({"align": True}, "add size=112"),
    ],
)
def test_values_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FaceTransform(**arguments)


def test_alignment_needs_landmarks() -> None:
    with pytest.raises(UserError, match="computed: has no landmarks"):
        FaceTransform(size=112, align=True).check(ComputedSource())


class _Unequal(ComputedSource):
    """Infrared images of another size than the visible ones."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(infrared=True)
        self.infrared_size = width, height

    def content(self, row: int, modality: str = "image") -> bytes:
        return super().content(row) if modality == "image" else picture(row, *self.infrared_size, grey=True)


def test_pairs_of_different_size_have_no_side_until_they_are_resized() -> None:
    assert FaceTransform().apply(_Unequal(64, 64), 0).side == 64
    assert FaceTransform().apply(_Unequal(32, 32), 0).side == 0
    face = FaceTransform(size=32).apply(_Unequal(32, 32), 0)
    assert face.side == 32
    assert decode(face.images["image"]).shape == (32, 32, 3)
    assert face.images["nir"] == picture(0, 32, 32, grey=True)


def test_pairs_of_different_shape_have_no_common_crop() -> None:
    with pytest.raises(BadImage, match="differ in shape, so one crop cannot serve both"):
        FaceTransform(size=32).apply(_Unequal(64, 48), 0)
