"""Numbers of parameters where the published networks deviate from a preset."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from src.models.networks.stylegan2 import Discriminator, Generator


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_without_condition_at_64_pixels() -> None:
    with torch.device("meta"):
        generator, discriminator = Generator(64, channel_base=16_384), Discriminator(64, channel_base=16_384)
    assert count(generator) == 25_003_805
    assert (count(generator.mapping), count(generator.synthesis)) == (2_101_248, 22_902_557)
    assert count(discriminator) == 23_407_361


@pytest.mark.parametrize(("resolution", "parameters"), [(512, 24_030_689), (1024, 24_038_129)])
def test_near_infrared_discriminator_of_fixed_width(resolution: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(Discriminator(resolution, image_channels=1, channel_base=16_384)) == parameters
