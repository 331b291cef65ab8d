from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.datamodules.alignment import (
    ARCFACE_TEMPLATE,
    align,
    centre_crop,
    centre_crop_matrix,
    similarity_from_landmarks,
    transform_points,
    warp,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())["align"]


def test_matrices_match_the_reference() -> None:
    landmarks = torch.tensor([case["landmarks"] for case in GOLDEN["cases"]])
    expected = torch.tensor([case["M"] for case in GOLDEN["cases"]], dtype=torch.float64)
    matrices, valid = similarity_from_landmarks(landmarks)
    assert torch.allclose(ARCFACE_TEMPLATE, torch.tensor(GOLDEN["dst"], dtype=torch.float64))
    assert valid.all()
    assert (matrices - expected).abs().max() < 1e-4


@settings(deadline=None, max_examples=50)
@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.05, 20),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    size=st.integers(8, 256),
)
def test_a_similarity_is_undone(angle: float, scale: float, x: float, y: float, size: int) -> None:
    turn = torch.tensor(angle, dtype=torch.float64)
    rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()]).view(2, 2) * scale
    points = ARCFACE_TEMPLATE @ rotation.mT + torch.tensor([x, y], dtype=torch.float64)
    matrices, valid = similarity_from_landmarks(points[None], size)
    assert valid.item()
    assert torch.allclose(transform_points(points, matrices[0]), ARCFACE_TEMPLATE * size / 112, atol=1e-6)


@pytest.mark.parametrize("bad", [torch.full((5, 2), 7.0), torch.full((5, 2), float("nan"))])
def test_degenerate_landmarks_fall_back_to_the_centre(bad: torch.Tensor) -> None:
    landmarks = torch.stack([ARCFACE_TEMPLATE.float(), bad])
    matrices, valid = similarity_from_landmarks(landmarks, 112, image_size=(200, 100))
    assert valid.tolist() == [True, False]
    assert torch.equal(matrices[1], centre_crop_matrix(200, 100, 112))


def test_identity_warp_is_exact() -> None:
    images = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)[None, :2].expand(2, 2, 3)
    assert torch.allclose(warp(images, identity, 9), images, atol=1e-12)


def test_warp_interpolates_and_is_zero_outside() -> None:
    image = torch.arange(12, dtype=torch.float64).view(1, 1, 3, 4) + 1
    shift = torch.tensor([[[1, 0, 0.5], [0, 1, 1.0]]], dtype=torch.float64)
    expected = torch.tensor([[0, 0, 0, 0], [0.5, 1.5, 2.5, 3.5], [2.5, 5.5, 6.5, 7.5], [4.5, 9.5, 10.5, 11.5]])
    assert torch.allclose(warp(image, shift, 4)[0, 0], expected.double())


def test_warp_in_single_precision_is_within_a_hundredth_of_a_level() -> None:
    images = torch.randint(0, 256, (4, 3, 250, 250)).double()
    matrices, _ = similarity_from_landmarks(ARCFACE_TEMPLATE * 2 + torch.randn(4, 5, 2), 112)
    assert (warp(images, matrices, 112) - warp(images.float(), matrices, 112)).abs().max() < 0.01


def test_align_puts_landmarks_on_the_template() -> None:
    image = torch.zeros(300, 260, 3, dtype=torch.uint8)
    landmarks = ARCFACE_TEMPLATE * 1.7 + torch.tensor([30.0, 60.0])
    for x, y in landmarks.round().int().tolist():
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    aligned = align(image, landmarks, 112)
    assert aligned.shape == (112, 112, 3)
    assert aligned.dtype == torch.uint8
    for x, y in ARCFACE_TEMPLATE.round().int().tolist():
        assert aligned[y, x].tolist() == [255] * 3


def test_centre_crop_agrees_with_its_matrix() -> None:
    ramp = torch.arange(80, dtype=torch.uint8).repeat(120, 1)
    image = torch.stack([ramp, torch.arange(120, dtype=torch.uint8)[:, None].expand(120, 80)], -1)
    matrix = centre_crop_matrix(120, 80, 40)
    crop = centre_crop(image, 40)
    assert crop.shape == (40, 40, 2)
    points = torch.tensor([[10.5, 40.5], [60.5, 90.5]])
    x, y = transform_points(points, matrix).round().long().unbind(-1)
    assert torch.allclose(crop[y, x].float(), points, atol=1)


def test_centre_crop_keeps_an_image_of_the_right_size() -> None:
    image = torch.randint(0, 256, (112, 112, 3), dtype=torch.uint8)
    assert torch.equal(centre_crop(image, 112), image)
