from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_protection import coded_faces

from src.errors import UserError
from src.eval.protection.faces import comparisons, draw_mated, draw_non_mated, joined, mated_pairs

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(30), 5))


def test_pairs_of_one_person_are_of_different_images() -> None:
    pairs = mated_pairs(LABELS)
    assert len(pairs) == 30 * 10
    assert len({frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}) == 300
    assert (LABELS[pairs.first] == LABELS[pairs.second]).all()
    assert (pairs.first != pairs.second).all()


def test_pairs_of_different_people() -> None:
    pairs = draw_non_mated(LABELS, 500, np.random.default_rng(0))
    assert len(pairs) == 500
    assert (LABELS[pairs.first] != LABELS[pairs.second]).all()


def test_no_pair_is_drawn_twice() -> None:
    pairs = mated_pairs(LABELS)
    drawn = draw_mated(joined(pairs, pairs.swapped), 10_000, np.random.default_rng(0))
    assert len(set(zip(drawn.first.tolist(), drawn.second.tolist(), strict=True))) == len(drawn) == 600


@given(st.integers(2, 8), st.integers(1, 1000), st.data())
def test_comparisons_are_under_different_keys(keys: int, count: int, data: st.DataObject) -> None:
    key_pairs = data.draw(st.integers(1, keys * (keys - 1) // 2))
    plan = list(comparisons(LABELS, mated_pairs(LABELS), keys, key_pairs, count, 0))
    assert len({(c.a, c.b) for c in plan}) == key_pairs
    for comparison in plan:
        assert 0 <= comparison.a < comparison.b < keys
        assert len(comparison.mated) == len(comparison.non_mated) == min(-(-count // key_pairs), 600)
        assert (LABELS[comparison.mated.first] == LABELS[comparison.mated.second]).all()
        assert (LABELS[comparison.non_mated.first] != LABELS[comparison.non_mated.second]).all()


def test_the_first_image_of_everyone_with_several() -> None:
    faces = coded_faces(people=4, images=3)
    assert faces.first_images.tolist() == [0, 3, 6, 9]
    assert faces.q == 8


@pytest.mark.parametrize("labels", [np.repeat(np.arange(33), 3), np.zeros(20, int), np.arange(500)])
def test_too_few_images(labels: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"\d+ people with \d+ pairs of images of the same person are too few"):
        mated_pairs(labels)
