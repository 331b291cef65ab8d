from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.eval.protection import scores
from src.eval.protection.scores import link_scores, match, relabelled_match


def codes(count: int, m: int, q: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(q, size=(count, m), dtype=np.uint8)


def test_share_of_equal_symbols() -> None:
    a = np.array([[1, 2, 3, 0], [0, 0, 0, 0]], np.uint8)
    b = np.array([[1, 2, 0, 3], [1, 1, 1, 1]], np.uint8)
    assert match(a, b).tolist() == [0.5, 0.0]
    assert relabelled_match(a, b, 4).tolist() == [1.0, 1.0]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_finds_the_best_renaming(seed: int, m: int) -> None:
    a, b = codes(3, m, 4, seed), codes(3, m, 4, seed + 1)
    every = np.max([match(np.array(names, np.uint8)[a], b) for names in permutations(range(4))], axis=0)
    assert relabelled_match(a, b, 4) == pytest.approx(every)


def test_undoes_a_table_of_all_positions() -> None:
    a = codes(50, 128, 8, 0)
    b = np.where(codes(50, 128, 2, 1), a, codes(50, 128, 8, 2))
    renamed = np.random.default_rng(3).permutation(8).astype(np.uint8)[b]
    assert relabelled_match(a, renamed, 8) == pytest.approx(match(a, b))


def test_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = codes(20, 64, 8, 0), codes(20, 64, 8, 1)
    whole = link_scores(8)["relabelled"](a, b)
    monkeypatch.setattr(scores, "_MOST_CELLS", 3 * 64)
    assert (link_scores(8)["relabelled"](a, b) == whole).all()
