from __future__ import annotations

import pytest
import torch
from support_augmentation import GivenDraws
from torch import Tensor

from src.models.networks.adaptive_augmentation import AugmentPipe

PIPE = AugmentPipe("color")


def applied(x: Tensor, **strengths: float) -> Tensor:
    return PIPE(x, GivenDraws(len(x), **strengths))


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_brightness_is_added(x: Tensor) -> None:
    torch.testing.assert_close(applied(x, brightness=1.5), x + 0.3)


def test_contrast_multiplies_after_brightness(x: Tensor) -> None:
    torch.testing.assert_close(applied(x, brightness=1.5, contrast=2.0), 2 * (x + 0.3))


def test_lumaflip_mirrors_the_luma_and_keeps_the_colour(x: Tensor) -> None:
    found, luma = applied(x, lumaflip=1.0), x.mean(dim=1, keepdim=True)
    torch.testing.assert_close(found, x - 2 * luma)
    torch.testing.assert_close(applied(found, lumaflip=1.0), x)


def test_hue_turns_the_channels_into_each_other(x: Tensor) -> None:
    torch.testing.assert_close(applied(x, hue=2 / 3), x.roll(1, 1), rtol=0, atol=1e-5)


def test_hue_keeps_grey_and_length(x: Tensor) -> None:
    grey = x[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(applied(grey, hue=0.3), grey)
    torch.testing.assert_close(applied(x, hue=0.3).norm(dim=1), x.norm(dim=1))


def test_saturation_doubles_what_differs_from_the_luma(x: Tensor) -> None:
    luma = x.mean(dim=1, keepdim=True)
    torch.testing.assert_close(applied(x, saturation=1.0), luma + 2 * (x - luma), rtol=1e-5, atol=1e-5)


def test_grey_images_are_as_colour_images_without_colour(x: Tensor) -> None:
    grey, strengths = x[:, :1], {"brightness": 0.7, "contrast": -0.4, "lumaflip": 1.0}
    expected = applied(grey.expand(-1, 3, -1, -1), **strengths)[:, :1]
    torch.testing.assert_close(applied(grey, **strengths, hue=0.3, saturation=1.0), expected, rtol=1e-5, atol=1e-5)


def test_grey_images_draw_neither_hue_nor_saturation() -> None:
    drawn = []

    class Recording(GivenDraws):
        def normal(self, operation: str, *shape: int) -> Tensor:
            drawn.append(operation)
            return super().normal(operation, *shape)

    PIPE(torch.zeros(1, 1, 2, 2), Recording(1))
    assert drawn == ["brightness", "contrast", "lumaflip"]
