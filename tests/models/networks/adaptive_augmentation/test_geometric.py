from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support_augmentation import GivenDraws
from torch import Tensor

from src.models.networks.adaptive_augmentation import AugmentPipe
from src.models.networks.adaptive_augmentation.geometric import OPERATIONS, geometric_transforms

PIPE = AugmentPipe("bg")


def smooth(height: int = 24, width: int = 24) -> Tensor:
    """An image without fine detail, so that resampling is nearly exact: [1, 1, H, W]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return (torch.sin(2 * x + 1) * torch.cos(1.5 * y - 0.5))[None, None]


def applied(x: Tensor, **strengths: float | list[float]) -> Tensor:
    return PIPE(x, GivenDraws(len(x), **strengths))


@pytest.mark.parametrize("size", [(24, 24), (20, 32)])
def test_flip(size: tuple[int, int]) -> None:
    """The filter is not symmetric: it shifts what is turned by a part of a pixel, and detail suffers."""
    x = smooth(*size)
    torch.testing.assert_close(applied(x, xflip=1.0), x.flip(3), rtol=0, atol=0.03)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns(turns: int) -> None:
    x = smooth()
    torch.testing.assert_close(applied(x, rotate90=float(turns)), x.rot90(turns, (2, 3)), rtol=0, atol=0.03)


def test_translation_by_whole_pixels_with_the_mirror_image_beyond_the_edge() -> None:
    x = torch.randn(1, 3, 16, 24)
    found = applied(x, xint=[1.0, -0.5])
    expected = F.pad(x, [3, 0, 0, 1], mode="reflect")[:, :, 1:, :24]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_translation_by_a_part_of_a_pixel() -> None:
    inner = (..., slice(4, -4), slice(4, -4))
    found = applied(smooth(), xfrac=[0.5 / 24 / 0.125, 0.0])
    expected = (smooth() + smooth().roll(1, 3)) / 2
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=5e-3)


def test_scaling_enlarges() -> None:
    """Twice as large: the centre holds pixels between those of the image."""
    found = applied(smooth(), scale=1 / 0.2)
    expected = F.interpolate(smooth(), scale_factor=2, mode="bilinear", align_corners=False)[..., 12:-12, 12:-12]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_stretching_is_along_x() -> None:
    found = geometric_transforms(GivenDraws(1, aniso=1 / 0.2), OPERATIONS, 8, 8)
    torch.testing.assert_close(found[0], torch.diag(torch.tensor([0.5, 2.0, 1.0])))


def test_rotations_before_and_after() -> None:
    quarter = geometric_transforms(GivenDraws(1, rotate90=1.0), OPERATIONS, 8, 8)
    for operation in ("rotate_before", "rotate_after"):
        found = geometric_transforms(GivenDraws(1, **{operation: 0.5}), OPERATIONS, 8, 8)
        torch.testing.assert_close(found, quarter)
    eighths = geometric_transforms(GivenDraws(1, rotate_before=0.25, rotate_after=0.25), OPERATIONS, 8, 8)
    torch.testing.assert_close(eighths, quarter)


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries({name: st.floats(-3, 3) for name in ("scale", "aniso", "rotate_before", "rotate_after")}),
    st.lists(st.floats(-3, 3), min_size=2, max_size=2),
    st.integers(4, 9),
    st.integers(4, 9),
)
def test_images_of_one_colour_stay_so(strengths: dict[str, float], shift: list[float], height: int, width: int) -> None:
    """As long as the mirror images around it reach; far beyond them there is nothing."""
    strengths = {**strengths, "scale": abs(strengths["scale"])}
    x = torch.full((1, 1, height, width), 0.5)
    found = applied(x, **{name: value / 3 for name, value in strengths.items()}, xfrac=[value / 6 for value in shift])
    assert found.shape == x.shape
    assert found[0, 0, height // 2, width // 2].item() == pytest.approx(0.5, abs=1e-3)


def test_determinant_is_the_inverse_of_the_scaling() -> None:
    draws = GivenDraws(1, scale=2.0, aniso=1.5, rotate_before=0.3, xfrac=[0.2, 0.1])
    found = geometric_transforms(draws, OPERATIONS, 8, 8)
    assert torch.linalg.det(found[0]).item() == pytest.approx(math.exp2(-2 * 0.4), rel=1e-5)


def test_operations_not_asked_for_are_not_drawn() -> None:
    found = geometric_transforms(GivenDraws(2, xflip=1.0, scale=1.0), {"scale"}, 8, 8)
    torch.testing.assert_close(found[0], torch.diag(torch.tensor([2**-0.2, 2**-0.2, 1.0])))
