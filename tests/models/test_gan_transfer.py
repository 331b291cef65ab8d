from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support_gan import FEATURE, NETWORK, gan
from torch import nn

from src.errors import UserError
from src.models.gan_transfer import adapt_weights, transfer_weights
from src.models.networks.stylegan2 import Discriminator, Generator


def generator(c_dim: int = FEATURE, seed: int = 1) -> Generator:
    torch.manual_seed(seed)
    return Generator(**NETWORK, z_dim=8, w_dim=8, c_dim=c_dim, mapping_layers=2)


def test_everything_that_fits_is_taken() -> None:
    target, source = generator(seed=1), generator(seed=2)
    copied, lines = adapt_weights(target, source.state_dict())
    assert (copied, lines) == (len(source.state_dict()), [])
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())


def test_unconditional_generator_becomes_one_that_ignores_identities_at_first() -> None:
    target, source = generator(), generator(c_dim=0, seed=2)
    _, lines = adapt_weights(target, source.state_dict())
    assert any(line.startswith("mapping.fc0.weight ignores identities at first") for line in lines)
    assert any(line.startswith("mapping.embed.weight") and "there is none" in line for line in lines)
    weight = target.get_parameter("mapping.fc0.weight")
    assert torch.equal(weight[:, :8], source.get_parameter("mapping.fc0.weight"))
    assert not weight[:, 8:].any()
    z = torch.randn(3, 8)
    one, other = (target.eval()(z, torch.randn(3, FEATURE), noise_mode="const")[0] for _ in range(2))
    assert torch.equal(one, other)


def test_output_of_an_unconditional_discriminator_starts_afresh() -> None:
    torch.manual_seed(0)
    target, source = Discriminator(**NETWORK, c_dim=FEATURE), Discriminator(**NETWORK)
    before = target.get_parameter("b4.out.weight").clone()
    _, lines = adapt_weights(target, source.state_dict())
    assert any(line.startswith("b4.out.weight") and "its shape is [1, 8]" in line for line in lines)
    assert torch.equal(target.get_parameter("b4.out.weight"), before)
    assert torch.equal(target.get_parameter("b4.fc.weight"), source.get_parameter("b4.fc.weight"))


def test_heads_of_the_near_infrared_start_afresh_where_there_are_none() -> None:
    target, source = generator(), generator(seed=2)
    before = target.get_parameter("synthesis.b16.toseg.weight").clone()
    _, lines = adapt_weights(target, {name: v for name, v in source.state_dict().items() if "toseg" not in name})
    assert lines
    assert all("toseg" in line for line in lines)
    assert torch.equal(target.get_parameter("synthesis.b16.toseg.weight"), before)


def networks(**trained: nn.Module) -> dict[str, torch.Tensor]:
    states = {name: network.state_dict() for name, network in trained.items()}
    return {f"{name}.{key}": value.contiguous() for name, state in states.items() for key, value in state.items()}


def test_checkpoint_fills_all_networks(tmp_path: Path) -> None:
    source, target = gan(), gan()
    for parameter in source.parameters():
        parameter.data.normal_()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "last.ckpt")
    target.load_networks(tmp_path / "last.ckpt")
    for name in ("generator", "average", "discriminator", "nir_discriminator"):
        found, expected = target.get_submodule(name).state_dict(), source.get_submodule(name).state_dict()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_average_alone_is_what_training_starts_from(tmp_path: Path) -> None:
    source = generator(seed=2)
    save_file(networks(average=source), tmp_path / "model.safetensors")
    target = gan()
    started = {"generator": target.generator, "discriminator": target.discriminator}
    lines = transfer_weights(started, tmp_path / "model.safetensors")
    assert torch.equal(target.generator.get_parameter("synthesis.b4.const"), source.get_parameter("synthesis.b4.const"))
    assert any(line.startswith("discriminator: 0 of") for line in lines)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no weights that fit the generator"):
        gan().load_networks(tmp_path / "other.safetensors")
