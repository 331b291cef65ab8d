"""Networks in two files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support_arcbifacegan import TINY, filled, normal

from src.errors import UserError
from src.models.networks.stylegan2 import Discriminator, Generator
from src.models.networks.stylegan2.network_files import load_network, save_networks

ARGUMENTS = {**TINY, "z_dim": 32, "w_dim": 32, "mapping_layers": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a generator and a discriminator."""
    networks = {"average": filled(Generator(**ARGUMENTS)), "discriminator": filled(Discriminator(**TINY))}
    descriptions = {
        "average": {"class": "Generator", "arguments": ARGUMENTS, "more": 1},
        "discriminator": {"class": "Discriminator", "arguments": TINY},
    }
    weights = {
        name: {key: value.contiguous() for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }
    save_networks(tmp_path, weights, descriptions, origin="here")
    return tmp_path


def rewrite(folder: Path, **average: Any) -> None:
    content = json.loads((folder / "model.json").read_text())
    content["networks"]["average"] |= average
    (folder / "model.json").write_text(json.dumps(content))


@torch.no_grad()
def test_networks_come_back(folder: Path) -> None:
    generator, z = load_network(folder), normal(1, [2, 32])
    assert not generator.training
    for found, expected in zip(
        generator(z, noise_mode="const"), filled(Generator(**ARGUMENTS))(z, noise_mode="const"), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert isinstance(load_network(folder, "discriminator"), Discriminator)
    assert json.loads((folder / "model.json").read_text())["origin"] == "here"


def test_names_and_missing_files(folder: Path) -> None:
    with pytest.raises(UserError, match="expected a network generator, found average, discriminator"):
        load_network(folder, "generator")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights file at .*model\.safetensors"):
        load_network(folder)
    with pytest.raises(UserError, match=r"no .*other/model\.json: expected a folder that privface convert wrote"):
        load_network(folder / "other")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"networks": 3}', "\x00"])
def test_damaged_descriptions(content: str, folder: Path) -> None:
    (folder / "model.json").write_text(content)
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        load_network(folder)


@pytest.mark.parametrize(
    "change",
    [{"class": "os.system"}, {"arguments": {"resolution": 24}}, {"arguments": {"size": 32}}, {"arguments": 3}],
)
def test_networks_that_cannot_be_built(change: dict[str, Any], folder: Path) -> None:
    rewrite(folder, **change)
    with pytest.raises(UserError, match=r"model\.json: average cannot be built"):
        load_network(folder)


def test_weights_of_another_network(folder: Path) -> None:
    rewrite(folder, arguments={**ARGUMENTS, "resolution": 16})
    with pytest.raises(UserError, match="does not fit the network"):
        load_network(folder)
