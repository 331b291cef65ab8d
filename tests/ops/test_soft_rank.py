from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.ops.hashing import group_argmax
from src.ops.soft_rank import soft_argmax


@pytest.mark.parametrize(
    ("group", "expected", "maximum"),
    [
        ([0.1, -0.4, 0.9, 0.3], {1: 1.72590591, 10: 2.0018006, 100: 2.0}, 2),
        ([1.0, 1.0, -2.0, 0.5], {1: 1.0989522, 10: 0.50839416, 100: 0.5}, 0),
    ],
)
def test_golden_values(group: list[float], expected: dict[int, float], maximum: int) -> None:
    logits = torch.tensor([group])
    for T, value in expected.items():
        assert float(soft_argmax(logits, 4, T).code) == pytest.approx(value, abs=1e-7)
    assert group_argmax(logits, 4).tolist() == [[maximum]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([2, 4, 8, 16, 32]), st.sampled_from([0.1, 1.0, 30.0]))
def test_shape_range_and_sum(seed: int, q: int, T: float) -> None:
    logits = 5 * torch.randn(3, 7 * q, generator=torch.Generator().manual_seed(seed))
    probability, code = soft_argmax(logits, q, T)
    assert (probability.dtype, probability.shape) == (torch.float32, (3, 7, q))
    assert (code.dtype, code.shape) == (torch.float64, (3, 7))
    torch.testing.assert_close(probability.sum(-1), torch.ones(3, 7))
    assert code.min() >= 0
    assert code.max() <= q - 1 + 1e-5


def test_large_T_is_the_argmax() -> None:
    logits = torch.randn(50, 40 * 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    groups = logits.unflatten(-1, (40, 8)).topk(2).values
    is_clear = groups[..., 0] - groups[..., 1] > 0.02
    code = soft_argmax(logits, 8, 2000).code
    torch.testing.assert_close(code[is_clear], group_argmax(logits, 8)[is_clear].double(), atol=1e-6, rtol=0)


def test_groups_are_neighbours() -> None:
    logits = torch.zeros(1, 12)
    logits[0, 4:8] = torch.tensor([0.0, 0, 0, 50])
    assert soft_argmax(logits, 4, 1.0).code.tolist() == [pytest.approx([1.5, 3.0, 1.5])]


def test_gradient_formula() -> None:
    T, q = 3.0, 4
    logits = torch.randn(2, 3 * q, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def code(z: Tensor) -> Tensor:
        return soft_argmax(z, q, T).code

    assert torch.autograd.gradcheck(code, logits)
    probability, expected_symbol = soft_argmax(logits, q, T)
    formula = T * probability * (torch.arange(q) - expected_symbol[..., None])
    (gradient,) = torch.autograd.grad(expected_symbol.sum(), logits)
    torch.testing.assert_close(gradient, formula.flatten(1).detach())
