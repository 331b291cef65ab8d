from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.errors import UserError
from src.ops.lookup_table import LookupTable


def symbols(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)


def test_the_natural_table_is_binary_with_the_most_significant_bit_first() -> None:
    assert LookupTable.natural(8).encode(symbols(5)).tolist() == [[1, 0, 1]]
    assert LookupTable.natural(8, 5).encode(symbols(5, 0)).tolist() == [[0, 0, 1, 0, 1], [0, 0, 0, 0, 0]]
    assert LookupTable.natural(8).bits == 3


@settings(max_examples=30, deadline=None)
@given(log_q=st.integers(1, 8), extra=st.integers(0, 3), per_position=st.booleans(), seed=st.binary(max_size=8))
def test_enough_bits_can_be_decoded(log_q: int, extra: int, per_position: bool, seed: bytes) -> None:
    q, m = 1 << log_q, 5
    table = LookupTable.random(q, log_q + extra, m=m if per_position else None, seed=seed)
    codes = torch.randint(q, (7, m), dtype=torch.uint8)
    bits = table.encode(codes)
    assert table.is_lossless
    assert bits.shape == (7, m, log_q + extra)
    assert not bits[..., :extra].any()
    assert torch.equal(table.decode(bits), codes)


@pytest.mark.parametrize(("q", "bits"), [(8, 1), (8, 2), (16, 3), (256, 7)])
def test_fewer_bits_are_balanced_everywhere_and_cannot_be_decoded(q: int, bits: int) -> None:
    table = LookupTable.random(q, bits, m=40, seed=b"secret")
    assert (table.table.sum(1) == q // 2).all()
    assert not table.is_lossless
    with pytest.raises(UserError, match="several symbols share"):
        table.decode(torch.zeros(40, bits, dtype=torch.uint8))


def test_tables_follow_the_seed_and_the_position_only() -> None:
    one, other = (LookupTable.random(8, m=64, seed=seed).table for seed in (b"a", b"b"))
    assert torch.equal(one, LookupTable.random(8, m=64, seed=b"a").table)
    assert torch.equal(one[:10], LookupTable.random(8, m=10, seed=b"a").table)
    assert not torch.equal(one, other)
    assert len(one.unique(dim=0)) > 60
    assert LookupTable.random(8, seed=b"a").table.shape == (1, 8, 3)
    assert torch.equal(LookupTable.random(8, seed=b"a", permute=False).table, LookupTable.natural(8).table)


def test_every_symbol_is_as_likely_to_get_any_bits() -> None:
    table = LookupTable.random(4, m=4000, seed=b"")
    counts = torch.stack([(table.table @ symbols(2, 1)).eq(row).sum(0) for row in range(4)])
    assert (counts - 1000).abs().max() < 5 * (4000 * 0.25 * 0.75) ** 0.5


def test_refuses() -> None:
    with pytest.raises(UserError, match="q=6: expected a power of two"):
        LookupTable.natural(6)
    with pytest.raises(UserError, match="bits=17: expected 1 to 16"):
        LookupTable.random(8, 17, seed=b"")
    with pytest.raises(UserError, match="bits=2: the natural table of 8"):
        LookupTable.natural(8, 2)
    table = LookupTable.random(8, m=3, seed=b"")
    with pytest.raises(UserError, match="below 8, found uint8 up to 8"):
        table.encode(symbols(8, 0, 0))
    with pytest.raises(UserError, match="found int64"):
        table.encode(torch.tensor([0, 1, 2]))
    with pytest.raises(UserError, match="tables for 3 positions, but the codes have 2"):
        table.encode(symbols(0, 1))
    with pytest.raises(UserError, match="those of no symbol"):
        LookupTable.natural(8, 4).decode(torch.ones(1, 4, dtype=torch.uint8))
