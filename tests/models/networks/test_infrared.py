"""Backbones with a fourth channel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.models.networks.backbone import Backbone
from src.models.networks.infrared import InfraredBackbone
from src.models.networks.iresnet import iresnet18
from src.models.networks.mini import MiniFaceNet
from src.models.networks.weights import fingerprint


def network(seed: int = 0) -> MiniFaceNet:
    torch.manual_seed(seed)
    return MiniFaceNet(embedding_size=8, size=16)


def images(channels: int) -> torch.Tensor:
    return torch.rand(4, channels, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("choice", "expected"), [("luma", (0.299, 0.587, 0.114)), ("zeros", (0.0, 0.0, 0.0))])
def test_images_without_infrared(choice: str, expected: tuple[float, ...]) -> None:
    backbone = InfraredBackbone(network(), nir_at_test=choice).eval()  # type: ignore[arg-type]
    colours = images(3)
    made = torch.einsum("bchw,c->bhw", colours, torch.tensor(expected))[:, None]
    assert torch.allclose(backbone(colours), backbone(torch.cat([colours, made], 1)), atol=1e-5)
    assert backbone(colours).shape == (4, 8)


def test_the_fourth_channel_starts_as_the_mean_of_the_colours() -> None:
    first, widened = network().layers[0][0], InfraredBackbone(network()).backbone.layers[0][0]  # type: ignore[index]
    assert widened.in_channels == 4
    assert torch.equal(widened.weight[:, :3], first.weight)
    assert torch.allclose(widened.weight[:, 3], first.weight.mean(1))


def test_the_near_infrared_counts() -> None:
    backbone = InfraredBackbone(network()).eval()
    pairs = images(4)
    other = pairs.clone()
    other[:, 3] = -other[:, 3]
    assert not torch.allclose(backbone(pairs), backbone(other))


def test_dropped_infrared_is_replaced_in_training_alone() -> None:
    pairs, without = images(4), images(4)[:, :3]
    always = InfraredBackbone(network(), nir_dropout=1.0)
    with torch.no_grad():
        assert torch.equal(always(pairs), always(without))
        assert not torch.equal(always.eval()(pairs), always(without))
    sometimes = InfraredBackbone(network(), nir_dropout=0.5)
    sometimes.backbone = Recorder()
    sometimes(images(4).repeat(100, 1, 1, 1))
    kept = (sometimes.backbone.seen[:, 3] == images(4).repeat(100, 1, 1, 1)[:, 3]).flatten(1).all(1)
    assert 0.4 < kept.float().mean() < 0.6


class Recorder(Backbone):
    def __init__(self) -> None:
        super().__init__(8, 16)
        self.seen = torch.empty(0)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images
        return images.flatten(1)[:, :8]


def test_fingerprint_tells_what_stands_for_the_infrared() -> None:
    one, other = InfraredBackbone(network(), "luma"), InfraredBackbone(network(), "zeros")
    assert fingerprint(one) == fingerprint(InfraredBackbone(network(), "luma")) != fingerprint(other)


def test_other_networks() -> None:
    backbone = InfraredBackbone(iresnet18(embedding_size=8, size=16)).eval()
    assert backbone(images(4)).shape == (4, 8)
    assert (backbone.embedding_size, backbone.size) == (8, 16)


class Linear(Backbone):
    def __init__(self) -> None:
        super().__init__(8, 16)
        self.fc = nn.Linear(768, 8)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.flatten(1))


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"nir_at_test.*luma.*zeros"):
        InfraredBackbone(network(), nir_at_test="none")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"nir_dropout=1\.5: expected 0 to 1"):
        InfraredBackbone(network(), nir_dropout=1.5)
    with pytest.raises(UserError, match="Linear does not begin with a convolution"):
        InfraredBackbone(Linear())
    with pytest.raises(UserError, match="does not begin with a convolution that takes 3 channels"):
        InfraredBackbone(InfraredBackbone(network()))
