"""Published networks: the same values, the same images, and no others than ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support_arcbifacegan import GOLDEN, TINY, assert_matches, filled, normal
from support_published import TINY_DISCRIMINATOR, TINY_GENERATOR, Module, write_published

from src.errors import UserError
from src.models.networks.stylegan2 import Discriminator, Generator
from src.models.networks.stylegan2.network_files import load_network, save_networks
from src.models.networks.stylegan2.published import PublishedNetwork, read_published

GENERATOR = {**TINY, "z_dim": 32, "w_dim": 32, "mapping_layers": 2}
NIR_DISCRIMINATOR = {**TINY_DISCRIMINATOR, "c_dim": 0, "img_channels": 1}


def write(path: Path, protocol: int = 4, **networks: Module) -> Path:
    training_set = {
        "class_name": "training.dataset.ImageFolderDataset",
        "path": "/home/someone/VIS",
        "use_labels": True,
    }
    return write_published(path, {"training_set_kwargs": training_set, **networks, "augment_pipe": None}, protocol)


def round_trip(folder: Path, networks: dict[str, PublishedNetwork], name: str) -> Any:
    description = {"class": networks[name].kind.__name__, "arguments": networks[name].arguments}
    save_networks(folder, {name: networks[name].weights}, {name: description})
    return load_network(folder, name)


@pytest.mark.parametrize("protocol", [3, 4])
def test_all_networks_bit_for_bit(protocol: int, tmp_path: Path) -> None:
    sources = {
        "G": filled(Generator(**GENERATOR, c_dim=16)),
        "D": filled(Discriminator(**TINY, c_dim=16)),
        "G_ema": filled(Generator(**GENERATOR, c_dim=16)),
        "D_NIR": filled(Discriminator(**TINY, image_channels=1)),
    }
    arguments = {"G": TINY_GENERATOR, "D": TINY_DISCRIMINATOR, "G_ema": TINY_GENERATOR, "D_NIR": NIR_DISCRIMINATOR}
    modules = {name: Module(network, type(network).__name__, arguments[name]) for name, network in sources.items()}
    found = read_published(write(tmp_path / "x.pkl", protocol, **modules))
    assert list(found) == ["G_ema", "G", "D", "D_NIR"]
    for name, network in sources.items():
        state = network.state_dict()
        assert found[name].initialised == ()
        assert list(found[name].weights) == list(state)
        assert all(torch.equal(found[name].weights[key], value) for key, value in state.items())


@torch.no_grad()
@pytest.mark.parametrize(("case", "c_dim"), [("cond", 16), ("uncond", 0)])
def test_images_of_a_converted_generator(case: str, c_dim: int, tmp_path: Path) -> None:
    source = Module(filled(Generator(**GENERATOR, c_dim=c_dim)), "Generator", {**TINY_GENERATOR, "c_dim": c_dim})
    found = read_published(write(tmp_path / "x.pkl", G_ema=source))
    network = round_trip(tmp_path, found, "G_ema")
    vis, nir = network(normal(1, [4, 32]), normal(2, [4, 16]), noise_mode="const")
    assert_matches(vis, GOLDEN[f"{case}.vis_const"], 1e-4)
    assert_matches(nir, GOLDEN[f"{case}.nir_const"], 1e-4)


@torch.no_grad()
def test_logits_of_converted_discriminators(tmp_path: Path) -> None:
    visible = Module(filled(Discriminator(**TINY, c_dim=16)), "Discriminator", TINY_DISCRIMINATOR)
    near_infrared = Module(filled(Discriminator(**TINY, image_channels=1)), "Discriminator", NIR_DISCRIMINATOR)
    found = read_published(write(tmp_path / "x.pkl", D=visible, D_NIR=near_infrared))
    logits = round_trip(tmp_path, found, "D")(normal(3, [8, 3, 32, 32], 0.5), normal(4, [8, 16]))
    torch.testing.assert_close(logits.flatten().tolist(), GOLDEN["cond.D_logits"], atol=1e-4, rtol=0)
    logits = round_trip(tmp_path, found, "D_NIR")(normal(7, [8, 1, 32, 32], 0.5))
    torch.testing.assert_close(logits.flatten().tolist(), GOLDEN["DNIR_logits"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_half_precision_of_the_file(tmp_path: Path) -> None:
    synthesis = {**TINY_GENERATOR["synthesis_kwargs"], "num_fp16_res": 2, "conv_clamp": 256}
    network = filled(Generator(**GENERATOR, c_dim=16))
    source = Module(network, "Generator", {**TINY_GENERATOR, "synthesis_kwargs": synthesis})
    found = read_published(write(tmp_path / "x.pkl", G_ema=source))
    arguments = found["G_ema"].arguments
    assert (arguments["precision"], arguments["num_reduced_resolutions"], arguments["conv_clamp"]) == ("fp16", 2, 256)
    vis, nir = round_trip(tmp_path, found, "G_ema")(normal(1, [4, 32]), normal(2, [4, 16]), noise_mode="const")
    assert_matches(vis, GOLDEN["fp16.vis"], 1e-2)
    assert_matches(nir, GOLDEN["fp16.nir"], 1e-2)


def test_generators_of_one_image_get_new_near_infrared_heads(tmp_path: Path) -> None:
    network = Generator(**GENERATOR)
    for block in (4, 8, 16, 32):
        del network.get_submodule(f"synthesis.b{block}").toseg
    source = write(tmp_path / "x.pkl", G_ema=Module(network, "Generator", {**TINY_GENERATOR, "c_dim": 0}))
    (found,) = read_published(source).values()
    heads = [f"synthesis.b{block}.toseg.{name}" for block in (4, 8, 16, 32) for name in ("weight", "affine.weight")]
    assert set(heads) < set(found.initialised)
    assert len(found.initialised) == 16
    assert all(".toseg." in name for name in found.initialised)
    assert found.weights["synthesis.b4.toseg.weight"].std() > 0
    assert list(found.weights) == list(Generator(**GENERATOR).state_dict())
    (again,) = read_published(source).values()
    assert all(torch.equal(value, again.weights[name]) for name, value in found.weights.items())


def test_random_numbers_of_the_caller_are_left_alone(tmp_path: Path) -> None:
    network = Generator(**GENERATOR)
    for block in (4, 8, 16, 32):
        del network.get_submodule(f"synthesis.b{block}").toseg
    path = write(tmp_path / "x.pkl", G_ema=Module(network, "Generator", {**TINY_GENERATOR, "c_dim": 0}))
    state = torch.get_rng_state()
    read_published(path)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("change", [{"c_dim": 0}, {"img_resolution": 16}, {"w_dim": 64}, {"mapping_kwargs": {}}])
def test_weights_that_do_not_belong_to_the_arguments(change: dict[str, Any], tmp_path: Path) -> None:
    module = Module(Generator(**GENERATOR, c_dim=16), "Generator", {**TINY_GENERATOR, **change})
    with pytest.raises(UserError, match=r"x\.pkl holds another network .*G_ema: .* (missing|would be)"):
        read_published(write(tmp_path / "x.pkl", G_ema=module))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_resolution": 24}, "resolution: expected a power of two"),
        ({"img_resolution": "32"}, "img_resolution: expected a whole number from 1 to"),
        ({"img_channels": 1}, "img_channels: expected 3, colour images, found 1"),
        ({"w_dim": 10**30}, "w_dim: expected a whole number"),
        ({"z_dim": None}, "z_dim: expected a whole number"),
        ({"mapping_kwargs": {"activation": "relu"}}, "activation: expected 'lrelu', found 'relu'"),
        ({"mapping_kwargs": 3}, "mapping_kwargs: expected a mapping, found 3"),
        ({"magnitude_ema_beta": 0.5}, "magnitude_ema_beta=0.5: unknown"),
        ({"synthesis_kwargs": {"architecture": ["skip"]}}, "architecture: expected a word"),
        ({"synthesis_kwargs": {"architecture": "other"}}, "architecture: expected skip, orig or resnet"),
        ({"synthesis_kwargs": {"resample_filter": torch.ones(4)}}, "resample_filter: expected"),
        ({"synthesis_kwargs": {"resample_filter": [1, 2, 1]}}, "resample_filter: expected"),
        ({"synthesis_kwargs": {"conv_clamp": "256"}}, "conv_clamp: expected a number or None"),
    ],
)
def test_arguments_of_other_networks(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    module = Module(torch.nn.Linear(1, 1), "Generator", {**TINY_GENERATOR, **change})
    with pytest.raises(UserError, match=rf"x\.pkl holds another network .*G_ema: .*{message}"):
        read_published(write(tmp_path / "x.pkl", G_ema=module))


def test_other_discriminators(tmp_path: Path) -> None:
    arguments = {**TINY_DISCRIMINATOR, "mapping_kwargs": {"num_layers": 2}}
    with pytest.raises(UserError, match=r"D: mapping_kwargs.num_layers: expected 8, found 2"):
        read_published(write(tmp_path / "x.pkl", D=Module(torch.nn.Linear(1, 1), "Discriminator", arguments)))
    with pytest.raises(UserError, match="D: expected a Discriminator, found a Generator"):
        read_published(write(tmp_path / "x.pkl", D=Module(torch.nn.Linear(1, 1), "Generator", TINY_GENERATOR)))


def test_weights_of_another_type(tmp_path: Path) -> None:
    module = Module(Generator(**GENERATOR, c_dim=16).double(), "Generator", TINY_GENERATOR)
    with pytest.raises(UserError, match=r"is torch\.float64 .*would be torch\.float32"):
        read_published(write(tmp_path / "x.pkl", G_ema=module))


def test_other_names(tmp_path: Path) -> None:
    module = Module(Generator(**GENERATOR, c_dim=16), "Generator", TINY_GENERATOR)
    with pytest.raises(UserError, match="networks named G_ema, G, D, D_NIR, found training_set_kwargs, generator"):
        read_published(write(tmp_path / "x.pkl", generator=module))
