from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.datamodules.preparation.plan import plan_parts
from src.errors import UserError


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 50), st.none() | st.integers(0, 9))
def test_every_row_is_in_one_part(labels: list[int], size: int, seed: int | None) -> None:
    parts = plan_parts(np.array(labels), size, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert {len(part) for part in parts[:-1]} <= {size}
    assert 1 <= len(parts[-1]) <= size


def test_without_a_seed_classes_stay_together() -> None:
    parts = plan_parts(np.array([1, 0, 2, 1, 0]), 2, None)
    assert [part.tolist() for part in parts] == [[1, 4], [0, 3], [2]]


def test_the_seed_fixes_the_order() -> None:
    labels = np.zeros(1000, np.int64)
    first, again, other = (np.concatenate(plan_parts(labels, 300, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    # A part is a sample of everything: its mean is that of all rows.
    assert abs(plan_parts(labels, 300, 1)[0].mean() - 499.5) < 50


@pytest.mark.parametrize("size", [0, 20_001])
def test_size_of_the_parts(size: int) -> None:
    with pytest.raises(UserError, match=f"samples_per_shard: expected 1 to 20000, found {size}"):
        plan_parts(np.zeros(3), size, 0)
