from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from src.models.networks.mtcnn.area_sampling import AreaSampler

sides = st.integers(1, 40)


def _noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@settings(deadline=None)
@given(sides, sides, sides, sides, st.data())
def test_resizes_like_torch(height: int, width: int, to_height: int, to_width: int, data: st.DataObject) -> None:
    images = _noise(2, 3, height, width)
    start = data.draw(st.integers(0, to_height - 1))
    end = data.draw(st.integers(start + 1, to_height))
    resized = AreaSampler(images).resize(to_height, to_width, slice(start, end))
    expected = F.interpolate(images.float(), (to_height, to_width), mode="area")[:, :, start:end]
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), sides, sides, sides, sides), max_size=5), st.integers(1, 24))
def test_crops_like_torch(cuts: list[tuple[int, int, int, int, int]], side: int) -> None:
    images = _noise(3, 3, 80, 80)
    numbers = torch.tensor([cut[0] for cut in cuts], dtype=torch.long)
    parts = torch.tensor([[x, y, x + w, y + h] for _, x, y, w, h in cuts], dtype=torch.long).reshape(-1, 4)
    crops = AreaSampler(images).crop(numbers, parts, side)
    assert crops.shape == (len(cuts), 3, side, side)
    for crop, number, (left, top, right, bottom) in zip(crops, numbers, parts.tolist(), strict=True):
        expected = F.interpolate(images[number, :, top:bottom, left:right].float()[None], (side, side), mode="area")[0]
        torch.testing.assert_close(crop, expected, rtol=0, atol=1e-4)


def test_sums_beyond_32_bits() -> None:
    images = torch.full((1, 1, 3000, 3000), 255, dtype=torch.uint8)
    images[..., -200:, -200:] = 51
    sampler = AreaSampler(images)
    small = sampler.resize(15, 15, slice(0, 15))
    assert small.flatten().tolist() == [255.0] * (15 * 15 - 1) + [51.0]
    assert sampler.crop(torch.tensor([0]), torch.tensor([[2600, 2600, 3000, 3000]]), 2).flatten().tolist() == [
        255.0,
        255.0,
        255.0,
        51.0,
    ]
