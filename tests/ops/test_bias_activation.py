from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support_arcbifacegan import GOLDEN, assert_matches, normal
from support_operators import (
    ACTIVATE,
    DIFFERENTIATE_BOTH,
    DTYPES,
    LAYOUTS,
    NUMBERS,
    SHAPES,
    check_activation,
    image,
)
from torch import Tensor

from src.errors import UserError
from src.ops import bias_activation
from src.ops.bias_activation import bias_act

X, BIAS = normal(10, [2, 3, 7, 9]), normal(11, [3])
ACTIVATIONS = ["linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"]


@pytest.fixture(params=[0, bias_activation._SMALL], ids=["operator", "small"])
def threshold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to compute small tensors."""
    monkeypatch.setattr(bias_activation, "_SMALL", request.param)


@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_golden_values(act: str) -> None:
    assert_matches(bias_act(X, BIAS, act=act), GOLDEN[f"op.bias_act.{act}"])


@pytest.mark.usefixtures("threshold")
def test_golden_values_of_gain_and_clamp() -> None:
    found = bias_act(X, BIAS, act="lrelu", alpha=0.1, gain=1.3, clamp=0.5)
    assert_matches(found, GOLDEN["op.bias_act.lrelu_gain_clamp"])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_is_what_the_definition_says(
    numbers: tuple[float, float, float], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    for shape in SHAPES:
        check_activation(numbers, shape, dtype, layout)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
@pytest.mark.parametrize("shape", [(4, 4096), (2, 16, 600), (2, 4, 4, 20, 30), (3, 7000, 1, 1), (2, 1, 90, 90)])
def test_any_number_of_dimensions(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, bias = image(shape, dtype, torch.contiguous_format), image(shape[1:2], dtype, torch.contiguous_format)
    wide = F.leaky_relu(x.double() + bias.double().view(-1, *[1] * (x.ndim - 2)), 0.2) * 2**0.5
    tolerance = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(dtype, 1e-6)
    torch.testing.assert_close(bias_act(x, bias, act="lrelu").double(), wide, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(bias_act(x, act="lrelu"), bias_act(x, torch.zeros_like(bias), act="lrelu"))


def test_other_dimensions() -> None:
    x = normal(0, [3, 4, 5])
    for dim, size in ((0, 3), (2, 5), (-1, 5)):
        bias = normal(1, [size])
        along = bias.view(-1, 1, 1) if dim == 0 else bias
        torch.testing.assert_close(bias_act(x, bias, dim=dim, act="relu"), F.relu(x + along) * 2**0.5)


@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradients_stop_at_the_clamp(act: str) -> None:
    x = (normal(0, [2, 3, 8, 8]) * 3).requires_grad_()
    y = bias_act(x, BIAS, act=act, clamp=0.4)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    clamped = y.abs() >= 0.4
    assert clamped.any()
    assert not gradient[clamped].any()
    free = bias_act(x, BIAS, act=act)
    (expected,) = torch.autograd.grad(free.sum(), x)
    torch.testing.assert_close(gradient[~clamped], expected[~clamped])


@pytest.mark.usefixtures("threshold")
def test_the_bound_of_bfloat16_is_rounded_before_it_is_compared() -> None:
    bound = 256 * 2**0.5  # which bfloat16 rounds down
    x = torch.full((1, 2, 4, 4), 1000.0, dtype=torch.bfloat16, requires_grad=True)
    y = bias_act(x, act="lrelu", clamp=bound)
    assert y.unique().tolist() == [362.0]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert not gradient.any()


@pytest.mark.usefixtures("threshold")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clamp", [None, 1.0])
def test_nan_and_infinity_are_not_hidden(clamp: float | None, dtype: torch.dtype) -> None:
    x = torch.tensor([[float("nan"), float("inf"), -float("inf")]], dtype=dtype)
    y = bias_act(x, act="lrelu", clamp=clamp)[0]
    assert y[0].isnan()
    assert y[1:].tolist() == ([float("inf"), -float("inf")] if clamp is None else [1.0, -1.0])


def test_empty_and_strange_layouts() -> None:
    for shape in ((0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4, 4)):
        y = ACTIVATE(torch.ones(shape), torch.ones(shape[1]), 0.2, 1.0, 1.0)
        assert y.shape == shape
        gradients = DIFFERENTIATE_BOTH(y, y, 0.2, 1.0, 1.0)
        assert [list(gradient.shape) for gradient in gradients] == [list(shape), [shape[1]]]
        assert not gradients[1].any()
    x = normal(0, [2, 8, 20, 33]).permute(0, 1, 3, 2)[:, ::2]
    bias = normal(1, [4])
    torch.testing.assert_close(
        ACTIVATE(x, bias, 0.2, 1.0, -1.0), F.leaky_relu(x + bias.view(-1, 1, 1), 0.2), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act": "gelu"}, "act: expected linear"),
        ({"x": X.long()}, "x is floating"),
        ({"dim": 4}, "dim is a dimension"),
        ({"bias": BIAS[:2]}, "to fit dimension 1 of x"),
        ({"bias": BIAS[None]}, "to fit dimension 1 of x"),
        ({"bias": BIAS.double()}, "torch.float32 .3. to fit"),
        ({"gain": 0.0}, "gain is more than 0"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str) -> None:
    arguments = {"x": X, "bias": BIAS, **change}
    with pytest.raises(UserError, match=message):
        bias_act(**arguments)


def test_threads_change_no_bit() -> None:
    def results() -> list[Tensor]:
        tensors: list[Tensor] = []
        for dtype in DTYPES:
            for layout in LAYOUTS:
                x = image((3, 40, 65, 65), dtype, layout)
                y = ACTIVATE(x, x[0, :, 0, 0], 0.2, 1.4, 1.0)
                tensors += [y, *DIFFERENTIATE_BOTH(x, y, 0.2, 1.4, 1.0)]
        return tensors

    alone = results()
    torch.set_num_threads(2)
    try:
        together = results()
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(first, second) for first, second in zip(alone, together, strict=True))
