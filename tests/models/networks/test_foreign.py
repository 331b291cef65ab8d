from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.foreign import ForeignNetwork


class Published(nn.Module):
    """A network as others publish theirs: parts of its own names, and a tuple as its result."""

    def __init__(self, returned: Callable[[Tensor], Any] = lambda x: (x, x.norm(dim=1, keepdim=True))) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 3, stride=2)
        self.fc = nn.Linear(4, 6)
        self.dropout = nn.Dropout(0.5)
        self.returned = returned

    def forward(self, images: Tensor) -> Any:
        return self.returned(self.fc(self.dropout(self.backbone(images).mean((2, 3)))))


IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_embeds_what_the_network_was_trained_on() -> None:
    network = Published()
    foreign = ForeignNetwork(network, size=16, color="bgr", mean=0, std=255).eval()
    expected, _ = network((IMAGES.flip(1) + 1) / 2)
    torch.testing.assert_close(foreign(IMAGES), expected)
    assert foreign.embedding_size == 6
    assert foreign.size == 16
    assert "color=bgr, mean=[0.0], std=[255.0]" in repr(foreign)


@pytest.mark.parametrize("returned", [lambda x: x, lambda x: [x, None], lambda x: (x,)])
def test_takes_the_first_tensor(returned: Callable[[Tensor], Any]) -> None:
    assert ForeignNetwork(Published(returned), size=16)(IMAGES).shape == (5, 6)


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_a_network_may_have_names_that_wrappers_have(prefix: str, tmp_path: Path) -> None:
    source, network = Published(), Published()
    torch.save({prefix + name: value for name, value in source.state_dict().items()}, tmp_path / "model.pt")
    ForeignNetwork(network, tmp_path / "model.pt", size=16)
    assert torch.equal(network.fc.weight, source.fc.weight)
    assert torch.equal(network.backbone.bias, source.backbone.bias)


def test_weights_below_a_key_and_a_prefix(tmp_path: Path) -> None:
    source, network = Published(), Published()
    state = {f"model.{name}": value for name, value in source.state_dict().items()}
    torch.save({"epoch": 3, "ema": {"weights": {**state, "head.kernel": torch.zeros(2)}}}, tmp_path / "model.pt")
    ForeignNetwork(network, tmp_path / "model.pt", key="ema.weights", prefix="model.", size=16)
    assert torch.equal(network.fc.weight, source.fc.weight)


def test_prefixes_of_several_parts(tmp_path: Path) -> None:
    source, network = Published(), Published()
    state = {
        (f"trunk.{name}" if name.startswith("backbone") else f"neck.{name}"): value
        for name, value in source.state_dict().items()
    }
    torch.save({"state_dict": {**state, "head.weight": torch.zeros(2)}}, tmp_path / "model.pt")
    ForeignNetwork(network, tmp_path / "model.pt", prefix=["trunk.", "neck."], size=16)
    assert torch.equal(network.fc.weight, source.fc.weight)


def test_as_a_config_names_it() -> None:
    config = {
        "_target_": "src.models.networks.foreign.ForeignNetwork",
        "network": {"_target_": "torchvision.models.resnet18", "num_classes": 7},
        "size": 32,
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
    }
    assert instantiate(config).embedding_size == 7


def test_construction_leaves_the_mode_and_the_statistics_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    foreign = ForeignNetwork(network, size=16)
    assert foreign.training
    assert network[1].training
    assert network[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda images: images, "expected a torch.nn.Module, found a function"),
        (nn.Conv2d(3, 4, 3), r"the network returns \[1, 4, 14, 14\]; expected embeddings"),
        (Published(lambda x: {"embedding": x}), "the network returns a dict"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), r"Sequential fails on a .*\[1, 3, 16, 16\] image"),
    ],
)
def test_refuses_what_does_not_embed(network: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ForeignNetwork(network, size=16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"holds no state dict at the top or as state_dict: .* found a mapping with the keys epoch, ema"),
        ({"key": "ema"}, r"no state dict as ema: .* keys weights"),
        ({"key": "ema.model"}, r"model.* was looked for in a mapping with the keys weights"),
        ({"key": "epoch.x"}, r"x.* was looked for in a value of type int"),
        ({"key": "ema.weights", "prefix": "net."}, r"no weight's name begins with 'net\.'; they are model\.backbone"),
        ({"key": "ema.weights"}, r"4 weights are missing from the file \(backbone\.weight, .*4 are unknown"),
    ],
)
def test_says_where_the_weights_are_not(arguments: dict, message: str, tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in Published().state_dict().items()}
    torch.save({"epoch": 3, "ema": {"weights": state}}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=message) as caught:
        ForeignNetwork(Published(), tmp_path / "model.pt", size=16, **arguments)
    assert "model.backbone.key" in str(caught.value)
