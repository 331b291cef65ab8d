from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_source import MemorySource
from support_arcbifacegan import GOLDEN

from src.datamodules.sampling import (
    ClassBalanced,
    GenderBalanced,
    IdentityBalanced,
    RollingShuffled,
    Sampling,
    Shuffled,
)
from src.errors import UserError


def _source(labels: list[int], attributes: list[int] | None = None) -> MemorySource:
    return MemorySource({"image": [b""] * len(labels)}, labels, attributes=attributes)


def test_shuffled_is_a_permutation() -> None:
    order = Shuffled(_source([0] * 50), 8, seed=3).order(2)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))


@pytest.mark.parametrize(
    "make",
    [
        Shuffled,
        RollingShuffled,
        ClassBalanced,
        GenderBalanced,
        lambda *a, **k: IdentityBalanced(*a, images_per_class=2, **k),
    ],
)
def test_orders_are_a_function_of_seed_and_epoch(make: Callable[..., Sampling]) -> None:
    source = _source([i % 7 for i in range(60)], [i % 2 for i in range(60)])
    orders = {(seed, epoch): make(source, 6, seed=seed).order(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    assert make(source, 6, seed=1).order(1).tolist() == orders[1, 1]


def test_class_balanced_draws_rare_classes_as_often() -> None:
    labels = np.array([0] * 9000 + [1] * 900 + [2] * 100)
    source = MemorySource({"image": [b""] * len(labels)}, labels)
    order = ClassBalanced(source, 8, seed=0).order(0)
    assert len(order) == 10_000
    # Three standard deviations of a binomial draw of 10,000 with p = 1/3.
    assert np.abs(np.bincount(labels[order]) - 10_000 / 3).max() < 142
    assert len(np.unique(order[labels[order] == 2])) == 100


def test_gender_balanced_draws_equally_and_never_the_unknown() -> None:
    attributes = [0, 1, 1, 1, 1, 0, -1] * 1000
    order = GenderBalanced(_source([0] * 7000, attributes), 8, seed=0).order(0)
    drawn = np.array(attributes)[order]
    assert set(drawn.tolist()) == {0, 1}
    assert abs(drawn.mean() - 0.5) < 3 * 0.5 / np.sqrt(7000)
    with pytest.raises(UserError, match="no image is marked male"):
        GenderBalanced(_source([0, 0], [0, -1]), 8)


def test_gender_balanced_draws_follow_the_published_weights() -> None:
    """Weights N / (images of the gender) of the genders [0, 1, 1, 1, 1, 0]."""
    weights = np.array([3, 1.5, 1.5, 1.5, 1.5, 3])
    sampling = GenderBalanced(_source([0] * 6, [0, 1, 1, 1, 1, 0]), 2, seed=0)
    drawn = np.concatenate([sampling.order(epoch) for epoch in range(2000)])
    frequency = np.bincount(drawn) / len(drawn)
    expected = weights / weights.sum()
    assert np.abs(frequency - expected).max() < 4 * np.sqrt(0.25 * 0.75 / len(drawn))


@settings(deadline=None, max_examples=80)
@given(data=st.data(), per_class=st.integers(2, 4), classes=st.integers(1, 4))
def test_identity_balanced_batches(data: st.DataObject, per_class: int, classes: int) -> None:
    counts = data.draw(st.lists(st.integers(1, 9), min_size=8, max_size=12))
    labels = np.repeat(np.arange(len(counts)), counts)
    eligible = np.flatnonzero(np.array(counts) > 1)
    batch = per_class * classes
    source = MemorySource({"image": [b""] * len(labels)}, labels)
    if len(eligible) < classes:
        with pytest.raises(UserError, match="identities have two images or more"):
            IdentityBalanced(source, batch, images_per_class=per_class)
        return
    sampling = IdentityBalanced(source, batch, images_per_class=per_class, seed=data.draw(st.integers(0, 5)))
    batches = sampling.order(0).reshape(-1, batch)
    assert len(batches) == len(labels) // batch
    assert sampling.block == batch
    for rows in batches:
        found, numbers = np.unique(labels[rows], return_counts=True)
        assert len(found) == classes
        assert (numbers == per_class).all()
        for label in found:
            mine = rows[labels[rows] == label]
            assert len(set(mine.tolist())) == min(per_class, counts[label])
    drawn = np.bincount(labels[batches.reshape(-1)], minlength=len(counts)) // per_class
    passes = -(-len(batches) * classes // (len(eligible) // classes * classes))
    assert drawn[eligible].max(initial=0) <= passes


def test_identity_balanced_goes_through_all_images_of_a_class() -> None:
    source = _source([0] * 12 + [1] * 12)
    rows = IdentityBalanced(source, 8, images_per_class=4, seed=0).order(0)
    assert sorted(rows.tolist()) == list(range(24))


def test_images_per_class_must_divide_the_batch() -> None:
    with pytest.raises(UserError, match=r"expected a divisor of datamodule\.batch_size=10"):
        IdentityBalanced(_source([0, 0, 1, 1]), 10, images_per_class=4)


def _rounds(seed: int, rounds: int) -> np.ndarray:
    sampling = RollingShuffled(_source([0] * 10), 1, seed=seed)
    return np.concatenate([sampling.order(epoch) for epoch in range(rounds)])


def test_rolling_order_is_that_of_stylegan2_ada() -> None:
    assert _rounds(0, 3).tolist() == GOLDEN["sampler.seed0_n10_first30"]
    assert _rounds(3, 3).tolist() == GOLDEN["sampler.seed3_n10_first30"]
    for rank in (0, 1):
        assert _rounds(0, 3)[rank::2].tolist() == GOLDEN[f"sampler.seed0_n10_rep2_rank{rank}_first15"]


def test_rolling_order_starts_anywhere() -> None:
    sampling = RollingShuffled(_source([0] * 10), 1, seed=0)
    assert [sampling.order(epoch).tolist() for epoch in (2, 0, 1, 1, 2)] == [
        _rounds(0, 3).reshape(3, 10)[epoch].tolist() for epoch in (2, 0, 1, 1, 2)
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rolling_order_of_a_few_images(count: int) -> None:
    order = RollingShuffled(_source([0] * count), 1).order(4)
    assert len(order) == count
    assert set(order.tolist()) <= set(range(count))
