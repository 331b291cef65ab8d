"""The recogniser and the alignment in front of it: golden values, geometry, gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_password import GOLDEN, assert_matches, filled_recogniser, image
from torch import Tensor

from src.datamodules.alignment import ARCFACE_TEMPLATE, similarity_from_landmarks, warp
from src.errors import UserError
from src.models.networks.mini import MiniFaceNet
from src.models.networks.password_transformer import AlignedRecogniser, SphereFace20
from src.models.networks.password_transformer.alignment import FaceAlignment

PUBLISHED = FaceAlignment(112, 96, "normalized", "bgr")
POINTS = torch.tensor([case["landmarks"] for case in GOLDEN["alignment"]], dtype=torch.float64)
TEMPLATE = ARCFACE_TEMPLATE - torch.tensor([8, 0])


@torch.no_grad()
def test_golden_recogniser() -> None:
    backbone, head = filled_recogniser()
    embedding, feature = backbone(image(2, 3, 112, 96))
    assert feature is embedding
    golden = GOLDEN["FR"]
    assert_matches(embedding, golden["feat"])
    norm = embedding.norm(dim=1, keepdim=True)
    cosine = torch.nn.functional.linear(embedding / norm, torch.nn.functional.normalize(head.weight))
    assert_matches(cosine * norm, golden["cos_scaled"])
    label = torch.tensor([5, 7])
    for case in GOLDEN["AngleLoss_labels_5_7"]:
        head.iteration.fill_(case["it_before_call"])
        assert float(head(embedding, label).loss) == pytest.approx(case["loss"], abs=1e-5)
        assert float(head.annealing) == pytest.approx(case["lambda"], rel=1e-6)
        assert int(head.iteration) == case["it_before_call"] + 1
    similarity = torch.cosine_similarity(*embedding, dim=0)
    assert float(similarity) == pytest.approx(GOLDEN["feat_cos"], abs=1e-8)


def test_sizes_and_names() -> None:
    with torch.device("meta"):
        network = SphereFace20()
    assert sum(parameter.numel() for parameter in network.parameters()) == 22_670_656
    assert len(network.state_dict()) == 62
    assert {"conv3_9.bias", "relu4_3.weight", "fc5.weight"} <= set(network.state_dict())


@pytest.mark.parametrize(
    ("layer", "size"), [(1, 64 * 56 * 48), (2, 128 * 28 * 24), (3, 256 * 14 * 12), (4, 512 * 7 * 6)]
)
@torch.no_grad()
def test_features_of_earlier_layers(layer: int, size: int) -> None:
    embedding, feature = SphereFace20(layer)(image(1, 3, 112, 96).float())
    assert embedding.shape == (1, 512)
    assert feature.shape == (1, size)


@pytest.mark.parametrize("number", range(3))
def test_golden_transforms(number: int) -> None:
    """Landmarks are given in pixels of the images, whatever their size."""
    expected = torch.tensor(GOLDEN["alignment"][number]["theta"], dtype=torch.float64)
    for size in (250, 128):
        found = PUBLISHED.transforms(POINTS[number : number + 1] * size / 250, (size, size))[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_golden_crop() -> None:
    grid = PUBLISHED.grid(POINTS[:2] * 128 / 250, (128, 128))
    assert_matches(PUBLISHED.crop(image(2, 3, 128, 128), grid), GOLDEN["aligned_bgr_ac_true"])


def dots(points: Tensor, size: int) -> Tensor:
    """Five small blobs, each in an image of its own, [5, 3, size, size]."""
    x = torch.arange(size, dtype=torch.float64)
    distance = (x - points[:, :1, None]).square() + (x[:, None] - points[:, 1:, None]).square()
    return (-distance / 8).exp()[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("mode", ["normalized", "pixel"])
def test_landmarks_of_a_mean_face_come_to_the_template(mode: str) -> None:
    alignment, points = FaceAlignment(112, 96, mode), POINTS[2]
    crops = alignment.crop(dots(points, 250), alignment.grid(points.expand(5, 5, 2), (250, 250)))[:, 0]
    weight = crops / crops.sum((1, 2), keepdim=True)
    found = torch.stack([(weight.sum(1) * torch.arange(96)).sum(1), (weight.sum(2) * torch.arange(112)).sum(1)], 1)
    assert (found - TEMPLATE).norm(dim=1).max() < 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_crops_are_computed_in_single_precision_at_least(dtype: torch.dtype) -> None:
    images, grid = image(1, 3, 128, 128), PUBLISHED.grid(POINTS[:1] * 128 / 250, (128, 128))
    crop = PUBLISHED.crop(images.to(dtype), grid)
    assert crop.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(crop.double(), PUBLISHED.crop(images, grid), rtol=0, atol=torch.finfo(dtype).eps + 1e-5)


def test_pixel_mode_is_the_alignment_of_the_datamodules() -> None:
    images, points = image(3, 3, 128, 128), POINTS * 128 / 250
    expected = warp(images, similarity_from_landmarks(points)[0], 112)
    square, narrow = FaceAlignment(112, 112), FaceAlignment(112, 96)
    found = square.crop(images, square.grid(points, (128, 128)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    found = narrow.crop(images, narrow.grid(points, (128, 128)))
    torch.testing.assert_close(found, expected[..., 8:104], rtol=0, atol=1e-4)


@settings(max_examples=25)
@given(st.floats(-3, 3), st.floats(0.3, 3), st.floats(-40, 40), st.floats(-40, 40))
def test_crops_do_not_depend_on_where_the_face_is(angle: float, scale: float, dx: float, dy: float) -> None:
    """The template's own points, moved, come back exactly in pixels."""
    turn = torch.tensor([[angle]], dtype=torch.float64)
    rotation = torch.cat([torch.cat([turn.cos(), -turn.sin()], 1), torch.cat([turn.sin(), turn.cos()], 1)])
    points = scale * (TEMPLATE - 50) @ rotation.T + torch.tensor([100 + dx, 100 + dy])
    theta = FaceAlignment(112, 96).transforms(points[None], (200, 200))[0]
    crop_points = torch.cat([2 * TEMPLATE / torch.tensor([95, 111]) - 1, torch.ones(5, 1)], 1)
    torch.testing.assert_close((crop_points @ theta.T + 1) * 199 / 2, points, rtol=0, atol=1e-8)


def test_red_is_the_last_channel() -> None:
    images = torch.full((1, 3, 128, 128), -1.0)
    images[:, 0] = 1
    crop = PUBLISHED.crop(images, PUBLISHED.grid(POINTS[:1] * 128 / 250, (128, 128)))
    assert crop[0, :, 56, 48].tolist() == pytest.approx([-1, -1, 1], abs=1e-6)


def test_gradient_reaches_the_image() -> None:
    images = image(1, 3, 128, 128).float().requires_grad_()
    for recogniser in (
        AlignedRecogniser(SphereFace20(), "normalized"),
        AlignedRecogniser(MiniFaceNet(32, size=32)).eval(),
    ):
        grid = recogniser.alignment.grid(POINTS[:1] * 128 / 250, (128, 128))
        embedding, feature = recogniser(images, grid)
        assert embedding.shape == feature.shape == (1, recogniser.embedding_size)
        (gradient,) = torch.autograd.grad(feature.square().sum(), images)
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("mode", ["normalized", "pixel"])
def test_faces_without_landmarks_are_refused(mode: str) -> None:
    points = torch.stack([POINTS[0], torch.zeros(5, 2)])
    with pytest.raises(UserError, match=r"expected five points of a face, found \[\[0\.0, 0\.0\].* leave them out"):
        FaceAlignment(mode=mode).grid(points, (128, 128))


def test_wrong_arguments() -> None:
    with pytest.raises(UserError, match=r"feature_layer: expected 1 to 5, found 6"):
        SphereFace20(6)
    with pytest.raises(UserError, match=r"expected crops \[B, 3, 112, 96\], found \[1, 3, 112, 112\]"):
        SphereFace20()(torch.zeros(1, 3, 112, 112))
    with pytest.raises(UserError, match=r"model\.recogniser\.align: expected normalized or pixel"):
        FaceAlignment(mode="affine")
