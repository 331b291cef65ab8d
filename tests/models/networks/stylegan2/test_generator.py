"""The generator: golden images in both spectra, noise, modes, precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support_arcbifacegan import GOLDEN, TINY, assert_matches, filled, normal

from src.errors import UserError
from src.models.networks.stylegan2 import Generator

Z, C = normal(1, [4, 32]), normal(2, [4, 16])


def generator(c_dim: int = 16, **options: Any) -> Generator:
    return filled(Generator(**TINY, z_dim=32, w_dim=32, c_dim=c_dim, mapping_layers=2, **options)).eval()


@pytest.mark.parametrize(("name", "c_dim"), [("cond", 16), ("uncond", 0)])
@pytest.mark.parametrize("noise_mode", ["const", "none"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_golden_images(name: str, c_dim: int, noise_mode: str, channels_last: bool) -> None:
    vis, nir = generator(c_dim, channels_last=channels_last)(Z, C, noise_mode=noise_mode)
    assert_matches(vis, GOLDEN[f"{name}.vis_{noise_mode}"])
    assert_matches(nir, GOLDEN[f"{name}.nir_{noise_mode}"])


@pytest.mark.parametrize("architecture", ["orig", "resnet"])
def test_golden_images_of_the_other_architectures(architecture: str) -> None:
    vis, nir = generator(0, architecture=architecture)(Z, noise_mode="const")
    assert_matches(vis, GOLDEN[f"garch.{architecture}.vis"])
    assert_matches(nir, GOLDEN[f"garch.{architecture}.nir"])


def test_golden_images_in_float16() -> None:
    network = generator(precision="fp16", num_reduced_resolutions=2, conv_clamp=256)
    vis, nir = network(Z, C, noise_mode="const")
    assert_matches(vis, GOLDEN["fp16.vis"], tolerance=1e-2)
    assert_matches(nir, GOLDEN["fp16.nir"], tolerance=1e-2)


@pytest.mark.parametrize(("name", "c_dim"), [("cond", 16), ("uncond", 0)])
def test_golden_sizes(name: str, c_dim: int) -> None:
    network = generator(c_dim)
    assert network.num_ws == GOLDEN[f"{name}.num_ws"]
    assert sum(parameter.numel() for parameter in network.parameters()) == GOLDEN[f"{name}.params"]


def test_training_and_evaluation_mode_agree() -> None:
    network = generator()
    ws = network.mapping(Z, C)
    evaluated = network.synthesis(ws, "const")
    for found, expected in zip(network.train().synthesis(ws, "const"), evaluated, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        for found, expected in zip(network.synthesis(ws, "const"), evaluated, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.02)])
def test_half_precision_is_close(precision: str, tolerance: float) -> None:
    full, half = generator(), generator(precision=precision, conv_clamp=256)
    images = half(Z, C, noise_mode="const")
    for found, expected in zip(images, full(Z, C, noise_mode="const"), strict=True):
        assert found.dtype is torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        assert not torch.equal(found, expected)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_force_fp32(precision: str) -> None:
    images = generator(precision=precision)(Z, C, noise_mode="const", force_fp32=True)
    for found, expected in zip(images, generator()(Z, C, noise_mode="const"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gradients_in_bfloat16_point_the_same_way() -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        network = generator(precision=precision)
        sum(image.square().mean() for image in network(Z, C, noise_mode="const")).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


def test_random_noise_is_drawn_layer_by_layer() -> None:
    network = generator()
    ws = network.mapping(Z, C)
    torch.manual_seed(0)
    vis, _ = network.synthesis(ws)
    torch.manual_seed(0)
    for resolution in (4, 8, 8, 16, 16, 32, 32):
        torch.randn(4, 1, resolution, resolution)
    following = torch.rand([])
    torch.manual_seed(0)
    assert torch.equal(network.synthesis(ws)[0], vis)
    assert torch.equal(torch.rand([]), following)
    assert not torch.equal(network.synthesis(ws)[0], vis)


def test_near_infrared_loss_reaches_the_trunk_but_not_the_visible_head() -> None:
    network = generator()
    _, nir = network(Z, C, noise_mode="none")
    nir.sum().backward()
    reached = {
        name for name, parameter in network.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert not any("torgb" in name for name in reached)
    assert {"synthesis.b32.toseg.weight", "synthesis.b4.const", "mapping.embed.weight"} <= reached


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_clamp_bounds_the_output_of_the_heads(architecture: str) -> None:
    network = generator(architecture=architecture, conv_clamp=0.01)
    bound = 0.01 * (4 if architecture == "skip" else 1) + 1e-6
    for image in network(Z, C, noise_mode="const"):
        assert image.abs().max() <= bound


@pytest.mark.parametrize(("resolution", "num_ws"), [(32, 8), (64, 10), (128, 12), (256, 14), (512, 16), (1024, 18)])
def test_number_of_ws(resolution: int, num_ws: int) -> None:
    with torch.device("meta"):
        assert Generator(resolution).num_ws == num_ws


def test_arguments_are_checked() -> None:
    for options, message in (
        ({"resolution": 48}, "resolution: expected a power of two from 8, found 48"),
        ({"channel_base": 4}, "channel_base: expected 8 or more, the resolution, found 4"),
        ({"precision": "fp8"}, "precision: expected fp32, bf16 or fp16, found 'fp8'"),
        ({"architecture": "plain"}, "architecture: expected skip, orig or resnet, found 'plain'"),
    ):
        with pytest.raises(UserError, match=message):
            Generator(**{"resolution": 8, **options})
    network = generator()
    with pytest.raises(UserError, match=r"ws: expected \[N, 8, 32\], found \[4, 32\]"):
        network.synthesis(Z)
    with pytest.raises(UserError, match="noise_mode: expected random, const or none, found 'loud'"):
        network(Z, C, noise_mode="loud")
