"""Names, shapes and numbers of parameters: those of the published weights."""

from __future__ import annotations

import pytest
import torch
from support_arcbifacegan import TINY, filled, normal

from src.models.networks.stylegan2 import Discriminator, Generator

TABLE = [
    # resolution, base, generator with 512 conditions, its buffers, mapping, synthesis, near-infrared heads, the
    # conditional discriminator, its mapping, the near-infrared discriminator of the same base
    (32, 16384, 23_100_951, 3_392, 2_626_048, 20_474_903, 1_052_676, 24_133_120, 2_363_904, 21_506_049),
    (64, 16384, 25_528_605, 11_632, 2_626_048, 22_902_557, 1_184_261, 26_033_408, 2_363_904, 23_406_849),
    (128, 16384, 26_300_067, 44_448, 2_626_048, 23_674_019, 1_250_054, 26_508_416, 2_363_904, 23_882_113),
    (256, 16384, 26_575_209, 175_568, 2_626_048, 23_949_161, 1_282_951, 26_627_136, 2_363_904, 24_000_961),
    (512, 32768, 32_347_503, 699_904, 2_626_048, 29_721_455, 1_546_120, 31_608_896, 2_363_904, None),
    (1024, 32768, 32_457_429, 2_797_104, 2_626_048, 29_831_381, 1_562_569, 31_638_560, 2_363_904, None),
]


def count(network: torch.nn.Module, part: str = "") -> int:
    return sum(value.numel() for name, value in network.named_parameters() if part in name)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row[0]))
def test_numbers_of_parameters(row: tuple[int, ...]) -> None:
    resolution, base, total, buffers, mapping, synthesis, heads, conditional, condition, near_infrared = row
    with torch.device("meta"):
        generator = Generator(resolution, c_dim=512, channel_base=base)
        discriminator = Discriminator(resolution, c_dim=512, channel_base=base)
        of_nir = Discriminator(resolution, image_channels=1, channel_base=base)
    found = count(generator), count(generator.mapping), count(generator.synthesis), count(generator, "toseg")
    assert found == (total, mapping, synthesis, heads)
    assert sum(buffer.numel() for buffer in generator.buffers()) == buffers
    assert (count(discriminator), count(discriminator.mapping)) == (conditional, condition)
    assert near_infrared is None or count(of_nir) == near_infrared


def test_numbers_of_parameters_without_condition() -> None:
    with torch.device("meta"):
        assert count(Generator(256, channel_base=16384)) == 26_050_409
        assert count(Discriminator(256, channel_base=16384)) == 24_001_089
        assert len(Generator(256, c_dim=512).state_dict()) == 174
        assert len(Discriminator(256, c_dim=512).state_dict()) == 82
        assert len(Discriminator(256, image_channels=1).state_dict()) == 64


def layer(prefix: str, out: int, channels: int, side: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.weight": (out, channels, 3, 3),
        f"{prefix}.noise_strength": (),
        f"{prefix}.bias": (out,),
        f"{prefix}.resample_filter": (4, 4),
        f"{prefix}.noise_const": (side, side),
        **affine(prefix, channels),
    }


def head(prefix: str, out: int, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": (out, channels, 1, 1), f"{prefix}.bias": (out,), **affine(prefix, channels)}


def affine(prefix: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.affine.weight": (channels, 512), f"{prefix}.affine.bias": (channels,)}


def fully_connected(prefix: str, out: int, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.weight": (out, size), f"{prefix}.bias": (out,)}


def convolution(prefix: str, out: int, channels: int, size: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    keys = {f"{prefix}.weight": (out, channels, size, size), f"{prefix}.resample_filter": (4, 4)}
    return {**keys, f"{prefix}.bias": (out,)} if bias else keys


def test_keys_and_shapes_of_the_generator() -> None:
    expected = {"mapping.w_avg": (512,), **fully_connected("mapping.embed", 512, 256)}
    for index in range(8):
        expected |= fully_connected(f"mapping.fc{index}", 512, 512 if index else 1024)
    expected |= {"synthesis.b4.const": (512, 4, 4)}
    for side, channels in ((4, 512), (8, 512), (16, 256)):
        block = f"synthesis.b{side}"
        expected |= {f"{block}.resample_filter": (4, 4)}
        expected |= layer(f"{block}.conv0", channels, 512, side) if side > 4 else {}
        expected |= layer(f"{block}.conv1", channels, channels, side)
        expected |= head(f"{block}.torgb", 3, channels) | head(f"{block}.toseg", 1, channels)
    with torch.device("meta"):
        found = Generator(16, c_dim=256, channel_base=4096).state_dict()
    assert {key: tuple(value.shape) for key, value in found.items()} == expected


def test_keys_of_shortcuts() -> None:
    with torch.device("meta"):
        keys = Generator(16, architecture="resnet").state_dict().keys()
    assert {key for key in keys if ".skip." in key} == {
        f"synthesis.b{side}.skip.{name}" for side in (8, 16) for name in ("weight", "resample_filter")
    }


@pytest.mark.parametrize("c_dim", [0, 256])
def test_keys_and_shapes_of_the_discriminator(c_dim: int) -> None:
    expected = convolution("b16.fromrgb", 256, 3, 1)
    for side, channels in ((16, 256), (8, 512)):
        expected |= {f"b{side}.resample_filter": (4, 4), **convolution(f"b{side}.conv0", channels, channels, 3)}
        expected |= convolution(f"b{side}.conv1", 512, channels, 3)
        expected |= convolution(f"b{side}.skip", 512, channels, 1, bias=False)
    expected |= convolution("b4.conv", 512, 513, 3) | fully_connected("b4.fc", 512, 8192)
    expected |= fully_connected("b4.out", 512 if c_dim else 1, 512)
    if c_dim:
        expected |= fully_connected("mapping.embed", 512, c_dim)
        for index in range(8):
            expected |= fully_connected(f"mapping.fc{index}", 512, 512)
    with torch.device("meta"):
        found = Discriminator(16, c_dim=c_dim, channel_base=4096).state_dict()
    assert {key: tuple(value.shape) for key, value in found.items()} == expected


def test_weights_load_whatever_their_layout_in_memory() -> None:
    options = {**TINY, "z_dim": 32, "w_dim": 32, "mapping_layers": 2}
    source, target = filled(Generator(**options, channels_last=False)), Generator(**options)
    strides = target.synthesis.b8.conv0.weight.stride()
    target.load_state_dict(source.state_dict(), strict=True)
    assert target.synthesis.b8.conv0.weight.stride() == strides != source.synthesis.b8.conv0.weight.stride()
    z = normal(1, [2, 32])
    for found, expected in zip(target.eval()(z, noise_mode="const"), source.eval()(z, noise_mode="const"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
