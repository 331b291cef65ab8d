from __future__ import annotations

import pytest

from src.errors import UserError
from src.models.gan_presets import PRESETS, find_preset


@pytest.mark.parametrize(
    ("resolution", "devices", "batch", "gamma", "average"),
    [
        (32, 1, 32, 0.0064, 10), (64, 1, 32, 0.0256, 10), (128, 1, 32, 0.1024, 10), (256, 1, 16, 0.8192, 5),
        (256, 2, 32, 0.4096, 10), (256, 4, 64, 0.2048, 20), (256, 8, 64, 0.2048, 20), (512, 1, 8, 6.5536, 2.5),
        (1024, 1, 4, 52.4288, 1.25), (1024, 8, 32, 6.5536, 10),
    ],
)  # fmt: skip
def test_automatic_settings(resolution: int, devices: int, batch: int, gamma: float, average: float) -> None:
    found = find_preset("auto", resolution, devices)
    assert (found.batch, found.micro_batch, found.group_size) == (batch, batch // devices, min(batch // devices, 4))
    assert found.r1_gamma == pytest.approx(gamma)
    assert found.average_kimg == average
    assert found.average_ramp == 0.05
    assert found.channel_base == (32_768 if resolution >= 512 else 16_384)
    assert found.lr == (0.002 if resolution == 1024 else 0.0025)
    assert (found.kimg, found.mapping_layers) == (10_000, 8)


def test_half_of_the_automatic_batch() -> None:
    found = find_preset("auto_512", 512)
    assert (found.batch, found.average_kimg) == (4, 1.25)
    assert found.r1_gamma == pytest.approx(13.1072)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("biface256", (25_000, 12, 12, 4, 16_384, 0.0025, 1.0, 20, None, 8)),
        ("stylegan2", (25_000, 32, 4, 4, 32_768, 0.002, 10.0, 10, None, 8)),
        ("paper256", (25_000, 64, 8, 8, 16_384, 0.0025, 1.0, 20, None, 8)),
        ("paper512", (25_000, 64, 8, 8, 32_768, 0.0025, 0.5, 20, None, 8)),
        ("paper1024", (25_000, 32, 4, 4, 32_768, 0.002, 2.0, 10, None, 8)),
        ("cifar", (100_000, 64, 32, 32, 32_768, 0.0025, 0.01, 500, 0.05, 2)),
    ],
)
def test_published_settings(name: str, expected: tuple[float | None, ...]) -> None:
    found = find_preset(name, 256, 8)
    assert expected == (
        found.kimg, found.batch, found.micro_batch, found.group_size, found.channel_base, found.lr, found.r1_gamma,
        found.average_kimg, found.average_ramp, found.mapping_layers,
    )  # fmt: skip


def test_only_cifar_has_other_objectives() -> None:
    for name, preset in PRESETS.items():
        expected = (0, 0, "orig") if name == "cifar" else (2, 0.9, "resnet")
        assert (preset.path_length_weight, preset.style_mixing, preset.architecture) == expected


def test_unknown_name() -> None:
    with pytest.raises(UserError, match=r"model.preset: expected auto, auto_512, .* found 'auto_128'"):
        find_preset("auto_128", 128)
