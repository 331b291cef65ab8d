from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.ops.iom_hash import RankHash, group_argmax, iom_hash


def test_a_hash_by_hand() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # m = 2 groups of q = 2
    x = torch.tensor([[3.0, 1.0], [1.0, 3.0], [-1.0, 2.0], [1.0, -2.0]])
    assert iom_hash(x, weight, None, 2).tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]
    bias = torch.tensor([0.0, 10.0, 0.0, -10.0])
    assert iom_hash(x, weight, bias, 2).tolist() == [[1, 0]] * 4
    hashing = RankHash(weight, bias, 2)
    assert hashing.m == 2
    assert hashing.codes(x).tolist() == [[1, 0]] * 4


@settings(max_examples=25, deadline=None)
@given(m=st.integers(1, 6), log_q=st.integers(1, 8), rows=st.integers(0, 5), seed=st.integers(0, 100))
def test_is_the_index_of_the_maximum_of_every_group(m: int, log_q: int, rows: int, seed: int) -> None:
    q, generator = 1 << log_q, torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, m * q, generator=generator)
    codes = group_argmax(logits, q)
    assert codes.dtype == torch.uint8
    assert codes.shape == (rows, m)
    for row in range(rows):
        for group in range(m):
            values = logits[row, group * q : (group + 1) * q].tolist()
            assert codes[row, group] == values.index(max(values))


def test_of_equal_values_it_is_the_first() -> None:
    assert group_argmax(torch.zeros(3, 512), 256).unique().tolist() == [0]
    assert group_argmax(torch.tensor([0.0, 2.0, 2.0, 1.0, 5.0, 5.0, 5.0, 5.0]), 4).tolist() == [1, 0]


def test_a_positive_factor_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(64, 16, generator=generator), torch.randn(50, 16, generator=generator)
    codes = iom_hash(x, weight, None, 8)
    for factor in (0.25, 4.0):
        assert torch.equal(iom_hash(factor * x, weight, None, 8), codes)


def test_is_computed_in_float32_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(2048, 64, generator=generator), torch.randn(40, 64, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        codes = iom_hash(x, weight, None, 8)
    assert torch.equal(codes, iom_hash(x, weight, None, 8))
    assert torch.equal(iom_hash(x.half(), weight, None, 8), iom_hash(x.half().float(), weight, None, 8))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_refuses_what_has_no_largest_projection(value: float) -> None:
    x = torch.zeros(3, 4)
    x[1, 2] = value
    with pytest.raises(UserError, match="holds NaN or infinity"):
        iom_hash(x, torch.ones(4, 4), None, 2)
