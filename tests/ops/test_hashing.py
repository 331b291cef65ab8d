from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_code_operators import check_argmax

from src.errors import UserError
from src.ops import hashing
from src.ops.hashing import RankHash, group_argmax, iom_hash


def test_a_hash_by_hand() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])  # m = 2 groups of q = 2
    x = torch.tensor([[3.0, 1.0], [1.0, 3.0], [-1.0, 2.0], [1.0, -2.0]])
    assert iom_hash(x, weight, None, 2).tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]
    bias = torch.tensor([0.0, 10.0, 0.0, -10.0])
    assert iom_hash(x, weight, bias, 2).tolist() == [[1, 0]] * 4
    rank_hash = RankHash(weight, bias, 2)
    assert rank_hash.m == 2
    assert rank_hash.codes(x).tolist() == [[1, 0]] * 4


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 40), q=st.integers(1, 256), few=st.booleans(), seed=st.integers(0, 100))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_is_the_index_of_the_maximum_of_every_group(
    dtype: torch.dtype, rows: int, q: int, few: bool, seed: int
) -> None:
    check_argmax(rows, q, dtype, few, seed)


def test_of_equal_values_it_is_the_first() -> None:
    assert group_argmax(torch.zeros(3, 512), 256).unique().tolist() == [0]
    assert group_argmax(torch.full((40, 8), -torch.inf), 8).unique().tolist() == [0]
    assert group_argmax(torch.tensor([-0.0, 0.0] * 40), 2).unique().tolist() == [0]
    assert group_argmax(torch.tensor([0.0, 2.0, 2.0, 1.0, 5.0, 5.0, 5.0, 5.0]), 4).tolist() == [1, 0]


def test_logits_of_any_layout_and_their_gradient() -> None:
    logits = torch.randn(6, 5, 24, generator=torch.Generator().manual_seed(0), requires_grad=True)
    turned = logits.transpose(0, 1)
    codes = group_argmax(turned, 4)
    assert codes.shape == (5, 6, 6)
    assert torch.equal(codes, group_argmax(turned.contiguous(), 4))
    assert not codes.requires_grad


def test_as_many_threads_as_one_likes() -> None:
    logits, threads, results = torch.randn(3000, 256), torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(group_argmax(logits, 8))
    torch.set_num_threads(threads)
    assert all(torch.equal(found, results[0]) for found in results)


def test_is_an_operator_by_the_rules() -> None:
    torch.library.opcheck(torch.ops.privface.group_argmax.default, (torch.randn(3, 4, 24), 8))


def test_an_exported_graph_needs_no_operator_of_ours() -> None:
    class Codes(torch.nn.Module):
        def forward(self, logits: torch.Tensor) -> torch.Tensor:
            return group_argmax(logits, 4)

    logits = torch.randn(3, 16)
    program = torch.export.export(Codes(), (logits,))
    assert "privface" not in program.graph_module.code
    assert torch.equal(program.module()(logits), group_argmax(logits, 4))


@pytest.mark.parametrize("biased", [False, True])
def test_projecting_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch, biased: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(3000, 64, generator=generator), torch.randn(7, 64, generator=generator)
    bias = torch.randn(3000, generator=generator) if biased else None
    codes = group_argmax(torch.nn.functional.linear(x, weight, bias), 6)
    assert torch.equal(iom_hash(x, weight, bias, 6), codes)
    monkeypatch.setattr(hashing, "_COLUMNS", 100)
    assert torch.equal(iom_hash(x, weight, bias, 6), codes)
    assert iom_hash(x[:0], weight, bias, 6).shape == (0, 500)


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


def test_a_sum_may_be_too_large_for_its_type() -> None:
    x = torch.full((2, 4), 60000.0, dtype=torch.float16)
    assert iom_hash(x, torch.eye(4), None, 2).tolist() == [[0, 0], [0, 0]]


def test_refuses_groups_that_are_none() -> None:
    logits = torch.randn(3, 10)
    for values, q in ((logits, 4), (logits, 0), (torch.randn(514), 257), (logits.long(), 5), (logits[0, 0], 1)):
        with pytest.raises(UserError, match=r"group_argmax: expected floating \[..., m \* q\]"):
            group_argmax(values, q)
