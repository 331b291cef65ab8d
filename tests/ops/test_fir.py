from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support_arcbifacegan import GOLDEN, assert_matches, normal
from support_operators import DTYPES, FIR, GEOMETRIES, LAYOUTS, SHAPES, TAPS, check_fir, filtered, image
from torch import Tensor

from src.errors import UserError
from src.ops import fir
from src.ops.fir import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

X = normal(10, [2, 3, 7, 9])
BINOMIAL = [1, 3, 3, 1]


def test_golden_values() -> None:
    filter = setup_filter(BINOMIAL)
    assert filter.tolist() == GOLDEN["op.filter1331"]
    assert_matches(upsample2d(X, filter), GOLDEN["op.up2"])
    assert_matches(downsample2d(X, filter), GOLDEN["op.down2"])
    assert_matches(filter2d(X, filter), GOLDEN["op.filter2d"])
    general: dict[str, Any] = {"up": 3, "down": 2, "padding": [2, -1, 1, 3], "gain": 1.7}
    filter = setup_filter([1, 2, 3])
    assert_matches(upfirdn2d(X, filter, **general), GOLDEN["op.upfirdn_general"])
    assert_matches(upfirdn2d(X, filter, **general, flip_filter=True), GOLDEN["op.upfirdn_general_flip"])
    separable = setup_filter(list(range(1, 9)))
    assert separable.shape == (8,)
    assert_matches(upfirdn2d(X, separable, up=2, padding=[4, 3, 4, 3], gain=4), GOLDEN["op.upfirdn_sep"])


def test_filters() -> None:
    assert setup_filter(None).tolist() == [[1]]
    assert setup_filter(5.0, normalize=False).tolist() == [[25]]
    assert setup_filter([1, 1], gain=4).tolist() == [[1, 1], [1, 1]]
    assert setup_filter([1, 2, 3], normalize=False, flip_filter=True)[0].tolist() == [9, 6, 3]
    assert setup_filter([[1, 2], [3, 4]], normalize=False).tolist() == [[1, 2], [3, 4]]
    assert setup_filter([1.0] * 8, gain=4).tolist() == [0.25] * 8
    for taps in ([], [[[1.0]]]):
        with pytest.raises(UserError, match="one or two dimensions"):
            setup_filter(taps)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_is_what_the_definition_says(
    geometry: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    for shape in SHAPES:
        check_fir(geometry, shape, dtype, layout)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 9), st.integers(1, 40)),
    counts=st.tuples(*[st.sampled_from(list(TAPS))] * 2),
    factors=st.tuples(*[st.integers(1, 3)] * 4),
    pads=st.tuples(*[st.integers(-4, 9)] * 4),
    layout=st.sampled_from(LAYOUTS),
)
def test_any_geometry_and_its_adjoint(
    sizes: tuple[int, ...],
    counts: tuple[int, int],
    factors: tuple[int, ...],
    pads: tuple[int, ...],
    layout: torch.memory_format,
) -> None:
    up_x, up_y, down_x, down_y = factors
    assume((sizes[3] * up_x + pads[0] + pads[1] - counts[0]) // down_x >= 0)
    assume((sizes[2] * up_y + pads[2] + pads[3] - counts[1]) // down_y >= 0)
    x = image(sizes, torch.float64, layout).requires_grad_()
    filters = TAPS[counts[0]], TAPS[counts[1]].flip(0)
    y = FIR(x, *filters, *factors, *pads)
    torch.testing.assert_close(y, filtered(x, *filters, *factors, *pads))
    other = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, other)
    torch.testing.assert_close((y * other).sum(), (x * gradient).sum())


def test_one_and_two_dimensions_and_the_factors_of_two_agree() -> None:
    taps = torch.tensor([1.0, 2, 5, 3])
    x = normal(0, [2, 3, 9, 8])
    for gain in (1.0, 2.5):
        expected = upfirdn2d(x, taps, up=2, down=3, padding=[1, 4], gain=gain)
        torch.testing.assert_close(upfirdn2d(x, taps.outer(taps), up=2, down=3, padding=[1, 4], gain=gain), expected)
        fixed = filtered(x, taps.flip(0), taps.flip(0), 2, 2, 3, 3, 1, 1, 4, 4) * gain
        torch.testing.assert_close(expected, fixed.float())


def test_a_filter_that_is_no_outer_product() -> None:
    filter = torch.tensor([[1.0, 2, 0], [0, 1, 3]])
    x = normal(0, [2, 3, 9, 8], 1.0)
    found = upfirdn2d(x, filter, padding=[1, 1, 1, 0], flip_filter=True)
    weight = filter.expand(3, 1, 2, 3)
    torch.testing.assert_close(found, torch.conv2d(torch.nn.functional.pad(x, [1, 1, 1, 0]), weight, groups=3))
    turned = upfirdn2d(x, filter.flip(0, 1), padding=[1, 1, 1, 0])
    torch.testing.assert_close(turned, found)
    x = x[:1, :1].double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: upfirdn2d(x, filter, up=2, padding=2), x)


def test_factors_are_found_anew_when_a_filter_changes() -> None:
    x, filter = normal(0, [1, 2, 6, 6]), setup_filter(BINOMIAL)
    before = upsample2d(x, filter)
    filter.mul_(2)
    torch.testing.assert_close(upsample2d(x, filter), before * 2)
    filter.zero_()
    assert not upsample2d(x, filter).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_of_the_usual_steps(layout: torch.memory_format) -> None:
    x, taps = image((2, 9, 8, 6), torch.float32, layout), setup_filter(BINOMIAL)
    assert upsample2d(x, taps).shape == (2, 9, 16, 12)
    assert downsample2d(x, taps).shape == (2, 9, 4, 3)
    assert filter2d(x, taps).shape == (2, 9, 8, 6)
    assert upsample2d(x, taps, [3, 1]).shape == (2, 9, 8, 18)
    assert downsample2d(x, taps, [3, 2], padding=[3, 0]).shape == (2, 9, 4, 4)
    assert filter2d(x, None, padding=1).shape == (2, 9, 10, 8)
    torch.testing.assert_close(filter2d(x, None), x)
    # A constant stays one, away from the border.
    for step in (upsample2d, downsample2d, filter2d):
        torch.testing.assert_close(step(torch.ones(1, 1, 12, 12), taps)[:, :, 2:-2, 2:-2].unique(), torch.ones(1))


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_types_and_strange_layouts_are_kept_or_made_good(dtype: torch.dtype) -> None:
    x, taps = normal(0, [2, 3, 8, 6]).to(dtype), setup_filter(BINOMIAL)
    found = upsample2d(x, taps)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), upsample2d(x.float(), taps), rtol=1e-2, atol=1e-2)
    strange = x.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)[:, ::2]
    torch.testing.assert_close(upsample2d(strange, taps), found[:, ::2], rtol=0, atol=0)
    assert upsample2d(x[:0], taps).shape == (0, 3, 16, 12)
    assert upsample2d(x[:0].contiguous(memory_format=torch.channels_last), taps).shape == (0, 3, 16, 12)


def test_in_inference_mode_and_afterwards() -> None:
    fir._factorise.cache_clear()
    x, filter = normal(0, [1, 2, 6, 6]), setup_filter(BINOMIAL)
    with torch.inference_mode():
        inferred = upsample2d(x, filter)
    trained = upsample2d(x.requires_grad_(), filter)
    torch.testing.assert_close(inferred, trained)
    trained.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[0]}, r"x is floating \[N, C, H, W\]"),
        ({"x": X.long()}, "x is floating"),
        ({"filter": torch.ones(2, dtype=torch.float64)}, "filter is float32"),
        ({"filter": torch.ones(1, 1, 1)}, "filter is float32"),
        ({"filter": torch.ones(0)}, "filter is float32"),
        ({"filter": torch.ones(2, requires_grad=True)}, "no gradient"),
        ({"filter": torch.ones(2, device="meta")}, "filter is expected on cpu"),
        ({"up": 0}, "up is one or two whole numbers"),
        ({"down": [1, 2, 3]}, "down is one or two whole numbers"),
        ({"padding": [1, 2, 3]}, "padding is one, two or four"),
        ({"padding": -4}, "nothing would be left"),
        ({"filter": torch.ones(10)}, "nothing would be left"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    arguments = {"x": X, "filter": torch.ones(2), **change}
    with pytest.raises(UserError, match=message):
        upfirdn2d(**arguments)


def test_an_empty_output_raises_in_the_operator_too() -> None:
    with pytest.raises(RuntimeError):
        FIR(torch.ones(1, 1, 2, 2), TAPS[4], TAPS[4], 1, 1, 1, 1, 0, 0, 0, 0)


def test_threads_change_no_bit() -> None:
    def results() -> list[Tensor]:
        xs = [image((3, 40, 33, 65), dtype, layout) for dtype in DTYPES for layout in LAYOUTS]
        return [FIR(x, TAPS[4], TAPS[4], 2, 2, 1, 1, 2, 1, 2, 1) for x in xs]

    alone = results()
    torch.set_num_threads(2)
    try:
        together = results()
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(first, second) for first, second in zip(alone, together, strict=True))
