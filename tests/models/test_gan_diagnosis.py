from __future__ import annotations

import math

import pytest
import torch
from support_gan import gan, pairs
from torch import Tensor, nn

from src.datamodules.sample import to_float_images
from src.models.gan_diagnosis import explain_not_finite, first_layer_not_finite


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 1))


def test_innermost_layer_that_comes_first() -> None:
    broken = network()
    broken.get_submodule("1.0").bias.data[0] = math.nan  # type: ignore[union-attr]
    assert first_layer_not_finite(broken, lambda: broken(torch.ones(1, 2))) == "1.0"
    assert not any(module._forward_hooks for module in broken.modules())


def test_nothing_is_wrong() -> None:
    whole = network()
    assert first_layer_not_finite(whole, lambda: whole(torch.ones(1, 2))) is None


def test_weight_that_is_not_used() -> None:
    broken = network()
    broken.register_buffer("spare", torch.tensor([math.inf]))
    assert first_layer_not_finite(broken, lambda: broken(torch.ones(1, 2))) == "spare"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("generator.synthesis.b8.conv0.bias", "generator.synthesis.b8.conv0"),
        ("generator.mapping.fc1.weight", "generator.mapping.fc1"),
        ("discriminator.b4.fc.weight", "discriminator.b4.fc"),
        ("nir_discriminator.b16.conv0.weight", "nir_discriminator.b16.conv0"),
    ],
)
def test_message(name: str, layer: str) -> None:
    module = gan()
    value: Tensor = module.state_dict()[name]
    value.fill_(math.nan)
    batch = to_float_images(pairs().dataset.read(range(4)))
    message = explain_not_finite(module, batch, ["Loss/G/loss"], None)
    assert "not finite are Loss/G/loss" in message
    assert f"in the layer {layer}" in message
    assert "there is no checkpoint yet" in message


def test_message_where_it_cannot_be_repeated() -> None:
    batch = to_float_images(pairs().dataset.read(range(4)))
    assert "the gradients or the augmentation overflowed" in explain_not_finite(
        gan(), batch, ["Loss/G/reg"], "last.ckpt"
    )
