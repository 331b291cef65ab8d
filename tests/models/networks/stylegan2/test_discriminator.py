"""The discriminators: golden logits, grouping of the minibatch, frozen layers, precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support_arcbifacegan import GOLDEN, TINY, filled, normal
from torch import Tensor

from src.errors import UserError
from src.models.networks.stylegan2 import Discriminator
from src.models.networks.stylegan2.minibatch_deviation import append_minibatch_deviation

IMAGES, LABELS = normal(3, [8, 3, 32, 32], 0.5), normal(4, [8, 16])
NIR = normal(7, [8, 1, 32, 32], 0.5)


def discriminator(c_dim: int = 16, image_channels: int = 3, **options: Any) -> Discriminator:
    return filled(Discriminator(**TINY, image_channels=image_channels, c_dim=c_dim, **options))


def assert_logits(found: Tensor, name: str) -> None:
    torch.testing.assert_close(found, torch.tensor(GOLDEN[name])[:, None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
def test_golden_logits(channels_last: bool) -> None:
    assert_logits(discriminator(channels_last=channels_last)(IMAGES, LABELS), "cond.D_logits")
    assert_logits(discriminator(0, channels_last=channels_last)(IMAGES), "uncond.D_logits")


@pytest.mark.parametrize("architecture", ["orig", "skip"])
def test_golden_logits_of_the_other_architectures(architecture: str) -> None:
    assert_logits(discriminator(0, architecture=architecture)(IMAGES), f"darch.{architecture}.logits")


def test_golden_logits_of_near_infrared_images() -> None:
    network = discriminator(0, image_channels=1)
    assert_logits(network(NIR), "DNIR_logits")
    assert_logits(network(NIR[:2]), "DNIR_logits_batch2")


def test_golden_minibatch_deviation() -> None:
    x = normal(17, [8, 4, 2, 2])
    one, two = append_minibatch_deviation(x, 4), append_minibatch_deviation(x, 4, num_channels=2)
    assert torch.equal(one[:, :4], x)
    torch.testing.assert_close(one[:, 4, 0, 0], torch.tensor(GOLDEN["op.mbstd_g4_n8"]))
    torch.testing.assert_close(two[:, 4:, 1, 1], torch.tensor(GOLDEN["op.mbstd_g4_f2_n8"]))


def test_only_samples_of_the_same_group_matter() -> None:
    """Sample i of 8 in groups of 4 belongs to group i % 2."""
    network = discriminator()
    logits = network(IMAGES, LABELS)
    within, across = torch.tensor([2, 1, 0, 3, 4, 5, 6, 7]), torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])
    torch.testing.assert_close(network(IMAGES[within], LABELS[within]), logits[within], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(network(IMAGES[across], LABELS[across]), logits[across], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.02)])
def test_half_precision_is_close(precision: str, tolerance: float) -> None:
    network, expected = discriminator(precision=precision, conv_clamp=256), discriminator()(IMAGES, LABELS)
    logits = network(IMAGES, LABELS)
    assert logits.dtype is torch.float32
    assert not torch.equal(logits, expected)
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(network(IMAGES, LABELS, force_fp32=True), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        ("resnet", ["b32.fromrgb", "b32.conv0", "b32.conv1", "b32.skip", "b16.conv0"]),
        ("orig", ["b32.fromrgb", "b32.conv0", "b32.conv1", "b16.conv0", "b16.conv1"]),
        ("skip", ["b32.fromrgb", "b32.conv0", "b32.conv1", "b16.fromrgb", "b16.conv0"]),
    ],
)
def test_frozen_layers_are_buffers(architecture: str, layers: list[str]) -> None:
    network = discriminator(architecture=architecture, frozen_layers=5)
    buffers = {name for name, _ in network.named_buffers() if not name.endswith("resample_filter")}
    assert buffers == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")} - {"b32.skip.bias"}
    assert not buffers & {name for name, _ in network.named_parameters()}
    assert network.state_dict().keys() == discriminator(architecture=architecture).state_dict().keys()


def test_frozen_layers_do_not_change_the_output() -> None:
    assert_logits(discriminator(frozen_layers=6)(IMAGES, LABELS), "cond.D_logits")


def test_inputs_are_checked() -> None:
    network = discriminator()
    with pytest.raises(UserError, match=r"images: expected \[N, 3, 32, 32\], found \[8, 1, 32, 32\]"):
        network(NIR, LABELS)
    with pytest.raises(UserError, match=r"c: expected \[N, 16\], found none"):
        network(IMAGES)
    with pytest.raises(UserError, match="expected a multiple of the 4 samples of a group, found 6"):
        network(IMAGES[:6], LABELS[:6])
    with pytest.raises(UserError, match="architecture: expected skip, orig or resnet"):
        discriminator(architecture="plain")
