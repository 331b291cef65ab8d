from __future__ import annotations

import numpy as np
import pytest
import torch
from support_arcbifacegan import TINY, filled
from torch import Tensor, nn

from src.errors import UserError
from src.eval.generative.path_length import feature_distance, perceptual_path_length
from src.models.networks.stylegan2 import Generator


class Linear(nn.Module):
    """Images that are linear in w: red is its first value, near infrared three times that."""

    def forward(self, ws: Tensor, noise_mode: str, force_fp32: bool) -> tuple[Tensor, Tensor]:
        assert (noise_mode, force_fp32) == ("const", True)
        red = ws[:, 0, :1, None, None].expand(-1, 1, 8, 8)
        return torch.cat([red, red, red], dim=1), 3 * red


class Mapping(nn.Module):
    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return (z + c)[:, None]


class Toy:
    z_dim = 1
    mapping = Mapping().double()
    synthesis = Linear()


def squared(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).double().mean(dim=(1, 2, 3)) ** 2


def test_of_a_linear_generator() -> None:
    conditions = torch.zeros(200, 1, dtype=torch.float64)
    found = perceptual_path_length(Toy(), squared, conditions, batch_size=200, epsilon=1e-2)
    codes = torch.randn(400, 1, generator=torch.Generator().manual_seed(0)).flatten()
    distances = (codes[200:] - codes[:200]).double().square().sort().values
    # The first percentile of 200 values begins at the second, the 99th ends at the last but one.
    assert found.vis == pytest.approx(float(distances[1:-1].mean()), rel=1e-4)
    assert found.nir == pytest.approx(9 * found.vis, rel=1e-4)


def test_both_ends_have_one_condition() -> None:
    wild = 100 * torch.randn(64, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    still = perceptual_path_length(Toy(), squared, torch.zeros(64, 1, dtype=torch.float64), epsilon=1e-2)
    assert perceptual_path_length(Toy(), squared, wild, epsilon=1e-2).vis == pytest.approx(still.vis, rel=1e-3)


def test_of_a_real_generator() -> None:
    generator = filled(Generator(z_dim=32, w_dim=32, c_dim=16, mapping_layers=2, **TINY)).eval()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    conditions = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))
    distance = feature_distance(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()))
    state = torch.get_rng_state()
    found = perceptual_path_length(generator, distance, conditions, batch_size=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert perceptual_path_length(generator, distance, conditions, batch_size=4) == found
    assert perceptual_path_length(generator, distance, conditions, batch_size=4, seed=1) != found
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    # The step is small enough for the distance to grow with its square.
    coarse = perceptual_path_length(generator, distance, conditions, batch_size=4, epsilon=1e-3)
    assert min(found) > 0
    np.testing.assert_allclose(coarse, found, rtol=0.1)


def test_large_images_are_averaged() -> None:
    shapes = []

    def distance(first: Tensor, second: Tensor) -> Tensor:
        shapes.append(tuple(first.shape))
        return squared(first, second)

    perceptual_path_length(Toy(), distance, torch.zeros(3, 1, dtype=torch.float64), side=4)
    assert shapes == [(3, 3, 4, 4)] * 2


def test_distance_of_features() -> None:
    distance = feature_distance(nn.Flatten())
    first, second = torch.zeros(2, 3, 1, 1), torch.zeros(2, 3, 1, 1)
    first[:, 0], second[0, 0], second[1, 1] = 2.0, 5.0, 7.0
    assert distance(first, second).tolist() == [0, 2]


def test_refuses_no_conditions() -> None:
    with pytest.raises(UserError, match="conditions: expected one for each step"):
        perceptual_path_length(Toy(), squared, torch.zeros(0, 1))
