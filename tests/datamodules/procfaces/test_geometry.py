from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from src.datamodules.procfaces import combine, derive, identity, nuisance
from src.datamodules.procfaces.camera import landmarks_3d
from src.datamodules.procfaces.geometry import HeadMap, build_head, surface_azimuth, surface_points

GOLDEN = json.loads(Path("tests/parity/procedural_faces_golden.json").read_text())


def golden_factors() -> dict[str, torch.Tensor]:
    people = identity(0, [0, 1, 100_000])
    return derive(combine(people, [0, 0, 1, 2], nuisance(0, [0, 0, 1, 100_000], [0, 1, 0, 3])))


@pytest.fixture(scope="module")
def head() -> HeadMap:
    return build_head(golden_factors())


def test_radial_map_matches_the_golden_values(head: HeadMap) -> None:
    golden = GOLDEN["radius_map"]
    assert list(head.radius[:, 0].shape) == golden["shape"]
    np.testing.assert_allclose(head.radius.mean((1, 2, 3)), golden["mean"], atol=1e-4)
    for row, column in ((72, 80), (72, 40), (90, 80), (110, 100)):
        assert float(head.radius[0, 0, row, column]) == pytest.approx(golden[f"r[0,{row},{column}]"], abs=1e-4)


def test_landmarks_on_the_surface_match_the_golden_values(head: HeadMap) -> None:
    landmarks = landmarks_3d(golden_factors(), head)
    np.testing.assert_allclose(landmarks[0].flatten(), GOLDEN["landmarks3d"][0], atol=1e-4)


def test_the_nose_is_the_foremost_landmark(head: HeadMap) -> None:
    depth = landmarks_3d(golden_factors(), head)[..., 2]
    assert (depth.argmax(1) == 2).all()


def test_the_map_closes_at_the_back(head: HeadMap) -> None:
    torch.testing.assert_close(head.radius[..., 0], head.radius[..., -1], atol=0.01, rtol=0)


def test_surface_points_lie_at_the_radius_of_the_map(head: HeadMap) -> None:
    azimuth, y = torch.tensor([[0.0, 0.5, -2.0]] * 4), torch.zeros(4, 3)
    points = surface_points(head, azimuth, y)
    radius = points[..., [0, 2]].norm(dim=-1)
    torch.testing.assert_close(torch.atan2(points[..., 0], points[..., 2]), azimuth)
    assert radius[0, 0] == pytest.approx(float(head.radius[0, 0, 71:73, 79:81].mean()), abs=1e-4)


def test_frontal_azimuth_is_odd_and_grows() -> None:
    x = torch.linspace(-1, 1, 41)
    azimuth = surface_azimuth(x)
    torch.testing.assert_close(azimuth, -azimuth.flip(0))
    assert (azimuth.diff() > 0).all()


def test_a_head_does_not_depend_on_its_batch(head: HeadMap) -> None:
    factors = golden_factors()
    alone = build_head({name: value[1:2] for name, value in factors.items()})
    torch.testing.assert_close(alone.radius[0], head.radius[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.relief[0], head.relief[1], atol=1e-4, rtol=0)
