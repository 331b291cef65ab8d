from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from src.datamodules.alignment import ARCFACE_TEMPLATE, similarity_from_landmarks, warp
from src.datamodules.procfaces import (
    Occlusion,
    Placement,
    Profile,
    Rendering,
    combine,
    degrade,
    identity,
    nuisance,
    render,
)
from src.datamodules.procfaces.hashing import NORMAL_LIMIT
from src.datamodules.procfaces.identities import IDENTITY_FACTORS
from src.errors import UserError

GOLDEN = json.loads(Path("tests/parity/procedural_faces_golden.json").read_text())
ALIGNED = Profile(alignment_shift=0, alignment_scale=0, alignment_rotation=0)
CALM = Profile().scaled(0)

Parameters = dict[str, torch.Tensor]


def parameters_of(
    ids: list[int] | range, samples: list[int] | int = 0, profile: Profile = ALIGNED, seed: int = 0, **changes: float
) -> Parameters:
    """Parameters of one image per id, some of them replaced."""
    parameters = combine(identity(seed, ids), range(len(ids)), nuisance(seed, ids, samples, profile=profile))
    for name, value in changes.items():
        parameters[name] = torch.full_like(parameters[name], value)
    return parameters


@pytest.fixture(scope="module")
def golden_parameters() -> Parameters:
    people = identity(0, [0, 1, 100_000])
    return combine(people, [0, 0, 1, 2], nuisance(0, [0, 0, 1, 100_000], [0, 1, 0, 3]))


@pytest.fixture(scope="module", params=[64, 112])
def golden_rendering(request: pytest.FixtureRequest, golden_parameters: Parameters) -> tuple[int, Rendering]:
    return request.param, render(golden_parameters, request.param)


def test_landmarks_match_the_golden_values(golden_rendering: tuple[int, Rendering]) -> None:
    size, rendering = golden_rendering
    np.testing.assert_allclose(rendering.landmarks.flatten(1), GOLDEN[f"lm_{size}"], atol=0.02)


def test_visible_images_match_the_golden_values(golden_rendering: tuple[int, Rendering]) -> None:
    size, rendering = golden_rendering
    grid = functional.adaptive_avg_pool2d(rendering.visible.mean(1), 8).flatten(1)
    np.testing.assert_allclose(grid, GOLDEN[f"vis8x8_{size}"], atol=0.03)
    np.testing.assert_allclose(rendering.visible.mean((2, 3)), GOLDEN[f"vis_rgb_mean_{size}"], atol=0.02)


def test_infrared_images_match_the_golden_values(golden_rendering: tuple[int, Rendering]) -> None:
    size, rendering = golden_rendering
    assert rendering.infrared is not None
    np.testing.assert_allclose(rendering.infrared.mean((1, 2, 3)), GOLDEN[f"nir_mean_{size}"], atol=0.02)


def test_frontal_faces_fit_the_template() -> None:
    size = 32
    landmarks = render(parameters_of(range(24), yaw=0, pitch=0), size, infrared=False).landmarks
    landmarks = (landmarks + 0.5) * 112 / size - 0.5
    residual = (landmarks - ARCFACE_TEMPLATE).norm(dim=-1)
    assert (landmarks[:, 0, 1] - landmarks[:, 1, 1]).abs().max() < 1
    assert residual.mean() < 2.5


def test_positive_yaw_turns_the_nose_to_the_right_of_the_image() -> None:
    left, front, right = (
        render(parameters_of([3], profile=CALM, yaw=yaw), 64, "loose").landmarks[0] for yaw in (-40, 0, 40)
    )
    assert left[2, 0] < front[2, 0] - 3
    assert right[2, 0] > front[2, 0] + 3


@pytest.mark.parametrize("yaw", [0, 25, 60])
def test_a_symmetric_head_turned_the_other_way_is_mirrored(yaw: int) -> None:
    symmetric = dict.fromkeys(("eye_asymmetry", "cheek_asymmetry", "mouth_asymmetry", "nose_asymmetry"), 0.0)
    symmetric |= {"bump_height": 0.0, "hair_style": 0.5, "other_hair_style": 0.0}  # 0.5 parts in the middle
    left, right = (
        render(parameters_of(range(4), profile=CALM, yaw=angle, **symmetric), 112, "loose", Placement(18, 55.5, 55.5))
        for angle in (-yaw, yaw)
    )
    differs = (left.head - right.head.flip(-1)).abs() > 0.5
    assert differs.double().mean() < 0.015


def test_infrared_is_the_same_scene_in_other_light() -> None:
    rendering = render(parameters_of(range(12), profile=Profile(occlusion=0)), 64)
    assert rendering.infrared is not None
    luma = (rendering.visible * torch.tensor([0.3, 0.59, 0.11]).view(3, 1, 1)).sum(1)
    correlations = [
        float(torch.corrcoef(torch.stack([luma[i][inside], rendering.infrared[i, 0][inside]]))[0, 1])
        for i, inside in enumerate(rendering.head > 0.5)
    ]
    assert np.mean(correlations) > 0.6


def patch_mean(image: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean [B] of the 3 x 3 pixels around a point per image [B, S, S]."""
    smooth = functional.avg_pool2d(image[:, None], 3, 1, 1)[:, 0]
    return smooth[torch.arange(len(image)), y.round().long(), x.round().long()]


def test_lips_vanish_in_infrared() -> None:
    parameters = parameters_of(range(8), profile=CALM, mouth_open=0, smile=0, beard_style=0, makeup=0, lip_redness=0.6)
    rendering = render(parameters, 112)
    assert rendering.infrared is not None
    mouth = rendering.landmarks[:, 3:].mean(1)
    cheek = (
        rendering.landmarks[:, 0] * torch.tensor([1.0, 0.0])
        + mouth * torch.tensor([0.0, 1.0])
        - torch.tensor([0.0, 12.0])
    )
    contrast = [
        (patch_mean(plane, mouth[:, 0], mouth[:, 1] + 3) - patch_mean(plane, cheek[:, 0], cheek[:, 1])).mean().abs()
        for plane in (rendering.visible[:, 1], rendering.infrared[:, 0])
    ]
    assert contrast[1] < 0.35 * contrast[0]


def test_melanin_hardly_shows_in_infrared() -> None:
    def cheek_brightness(melanin: float) -> tuple[float, float]:
        rendering = render(parameters_of(range(8), profile=CALM, melanin=melanin, beard_style=0), 64)
        assert rendering.infrared is not None
        point = 0.5 * (rendering.landmarks[:, 0] + rendering.landmarks[:, 3])
        visible, infrared = (
            float(patch_mean(plane, point[:, 0], point[:, 1]).mean())
            for plane in (rendering.visible.mean(1), rendering.infrared[:, 0])
        )
        return visible, infrared

    (light, light_infrared), (dark, dark_infrared) = cheek_brightness(0.0), cheek_brightness(1.0)
    assert light - dark > 0.2
    assert abs(light_infrared - dark_infrared) < 0.35 * (light - dark)


def test_aligning_a_photograph_gives_the_aligned_rendering() -> None:
    parameters = parameters_of(range(6), profile=replace(ALIGNED, occlusion=0))
    direct = render(parameters, 112, infrared=False)
    # The background belongs to the frame; only the head is the same in both.
    loose = render(parameters, 250, "loose", infrared=False)
    matrices, _ = similarity_from_landmarks(loose.landmarks, 112)
    aligned = warp(loose.visible, matrices, 112)
    shown = warp(torch.ones(6, 1, 250, 250), matrices, 112)[:, 0]
    for i in range(6):
        inside = (direct.head[i] > 0.99) & (shown[i] > 0.99)
        error = (aligned[i] - direct.visible[i])[:, inside].square().mean()
        assert -10 * torch.log10(error) > 28


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    first, again, other = (
        degrade(render(p, 64).visible, p) for p in (parameters_of([0, 1], profile=Profile(), seed=s) for s in (0, 0, 1))
    )
    assert torch.equal(first, again)
    assert (first.int() - other.int()).abs().double().mean() > 10


def test_an_image_does_not_depend_on_its_batch() -> None:
    parameters = parameters_of(range(12), profile=Profile(occlusion=0.5, blur=1.5))

    def draw(rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        part = {name: value[rows] for name, value in parameters.items()}
        rendering = render(part, 64)
        assert rendering.infrared is not None
        return degrade(rendering.visible, part).int(), degrade(rendering.infrared, part, infrared=True).int()

    whole = draw(slice(None))
    for rows in (slice(0, 1), slice(1, 6), slice(6, 12)):
        for together, split in zip(whole, draw(rows), strict=True):
            difference = (together[rows] - split).abs()
            assert difference.max() <= 1
            assert difference.double().mean() < 1e-3


@pytest.mark.parametrize("occlusion", list(Occlusion)[1:])
def test_every_occluder_changes_the_picture(occlusion: Occlusion) -> None:
    parameters = parameters_of(range(8), profile=Profile(occlusion=0), glasses_chance=1)
    free = render(parameters, 64).visible
    covered = render(parameters | {"occlusion": torch.full((8,), float(occlusion))}, 64).visible
    changed = ((free - covered).abs().amax(1) > 0.05).double().mean((1, 2))
    assert changed.min() > 0.02


def test_extreme_factors_leave_whole_faces() -> None:
    corners = parameters_of([0] * 12, profile=Profile(occlusion=0), blink=1, mouth_open=1)
    signs = torch.tensor([1.0, -1.0] * 6)
    for name, factor in IDENTITY_FACTORS.items():
        value = factor.mean + NORMAL_LIMIT * factor.deviation * signs
        corners[name] = value.clamp(factor.low, factor.high)
    corners["yaw"] = torch.tensor([-90.0, 90.0, 0.0]).repeat_interleave(4)
    corners["age"] = torch.tensor([14.0, 14.0, 85.0, 85.0]).repeat(3)
    rendering = render(corners, 64)
    assert rendering.infrared is not None
    for image in (rendering.visible, rendering.infrared, rendering.landmarks, rendering.box, rendering.coverage):
        assert image.isfinite().all()
    assert rendering.head.mean((1, 2)).min() > 0.3


def test_images_are_in_range_and_the_box_holds_the_landmarks() -> None:
    rendering = render(parameters_of(range(6), profile=Profile()), 96, "loose")
    assert rendering.infrared is not None
    for image in (rendering.visible, rendering.infrared, rendering.coverage, rendering.head):
        assert 0 <= image.min() <= image.max() <= 1
    assert (rendering.head <= rendering.coverage + 1e-6).all()
    assert (rendering.landmarks.amin(1) > rendering.box[:, :2]).all()
    assert (rendering.landmarks.amax(1) < rendering.box[:, 2:]).all()


def test_infrared_can_be_left_out() -> None:
    parameters = parameters_of([0])
    assert render(parameters, 32, infrared=False).infrared is None


def test_frame_and_placement_are_checked() -> None:
    parameters = parameters_of([0])
    with pytest.raises(UserError, match="frame: expected one of arcface, loose, found 'tight'"):
        render(parameters, 32, "tight")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="placement"):
        render(parameters, 32, "arcface", Placement(20, 16, 16))
