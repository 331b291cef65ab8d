"""Convolution with resampling: golden values, and every fast way against the definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support_arcbifacegan import GOLDEN, assert_matches, normal
from torch import Tensor

from src.errors import UserError
from src.ops.fir import setup_filter, upfirdn2d
from src.ops.resampled_convolution import conv2d_resample, for_transposed_convolution

FILTER = setup_filter([1, 3, 3, 1])
X = normal(12, [2, 4, 8, 8])
WEIGHTS = {3: normal(13, [5, 4, 3, 3]), 1: normal(14, [5, 4, 1, 1])}


def by_definition(
    x: Tensor, weight: Tensor, filter: Tensor, up: int, down: int, padding: int, flip_weight: bool
) -> Tensor:
    taps = filter.shape[-1]
    before = padding + (taps + up - 1) // 2 * (up > 1) + (taps - down + 1) // 2 * (down > 1)
    after = padding + (taps - up) // 2 * (up > 1) + (taps - down) // 2 * (down > 1)
    x = upfirdn2d(x, filter if up > 1 else None, up=up, padding=[before, after] * 2, gain=up**2)
    x = F.conv2d(x, weight if flip_weight else weight.flip((2, 3)))
    return upfirdn2d(x, filter if down > 1 else None, down=down)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("cr_plain", 3, {}),
        ("cr_up2_k3", 3, {"up": 2, "flip_weight": False}),
        ("cr_up2_k3_flipT", 3, {"up": 2}),
        ("cr_down2_k3", 3, {"down": 2}),
        ("cr_up2_k1", 1, {"up": 2}),
        ("cr_down2_k1", 1, {"down": 2}),
    ],
)
def test_golden_values(name: str, size: int, options: dict[str, int]) -> None:
    y = conv2d_resample(X, WEIGHTS[size], FILTER, padding=size // 2, **options)
    assert_matches(y, GOLDEN[f"op.{name}"])


@settings(max_examples=60, deadline=None)
@given(
    factors=st.sampled_from([(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]),
    size=st.sampled_from([1, 3, 5]),
    padding=st.integers(0, 2),
    taps=st.sampled_from([(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0), (1.0, 2.0, 3.0, 4.0, 5.0)]),
    flip_weight=st.booleans(),
    channels_last=st.booleans(),
)
def test_every_way_computes_the_definition(
    factors: tuple[int, int],
    size: int,
    padding: int,
    taps: tuple[float, ...],
    flip_weight: bool,
    channels_last: bool,
) -> None:
    (up, down), x, weight = factors, normal(0, [2, 3, 9, 8]).double(), normal(1, [4, 3, size, size]).double()
    filter = torch.tensor(taps) / sum(taps)
    expected = by_definition(x, weight, filter, up, down, padding, flip_weight)
    if channels_last:
        x, weight = x.to(memory_format=torch.channels_last), for_transposed_convolution(weight)
    y = conv2d_resample(x, weight, filter, up=up, down=down, padding=padding, flip_weight=flip_weight)
    torch.testing.assert_close(y.contiguous(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{"up": 2, "flip_weight": False}, {"down": 2}])
def test_second_derivatives(options: dict[str, int]) -> None:
    x = normal(0, [1, 2, 4, 4]).double().requires_grad_()
    weight = normal(1, [2, 2, 3, 3]).double().requires_grad_()
    torch.autograd.gradgradcheck(
        lambda x, weight: conv2d_resample(x, weight, FILTER, padding=1, **options), (x, weight)
    )


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("options", [{}, {"up": 2}, {"down": 2}])
def test_output_lies_in_memory_as_the_image_does(options: dict[str, int], channels_last: bool) -> None:
    """A weight in the other order changes nothing."""
    format = torch.channels_last if channels_last else torch.contiguous_format
    for weight in (
        WEIGHTS[3],
        WEIGHTS[3].to(memory_format=torch.channels_last),
        for_transposed_convolution(WEIGHTS[3]),
    ):
        y = conv2d_resample(X.to(memory_format=format), weight, FILTER, padding=1, **options)
        assert y.is_contiguous(memory_format=format)


def test_layout_for_transposed_convolution_keeps_the_values() -> None:
    weight = for_transposed_convolution(WEIGHTS[3])
    assert torch.equal(weight, WEIGHTS[3])
    assert weight.transpose(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_up_and_down_exclude_each_other() -> None:
    with pytest.raises(UserError, match="found up 2 and down 2"):
        conv2d_resample(X, WEIGHTS[3], FILTER, up=2, down=2)
