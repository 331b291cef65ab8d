from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval.gallery_search import gallery_places, search


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities with ties, several entries of an identity, and probes of nobody in the gallery."""
    gallery = np.array(draw(st.lists(st.integers(0, 6), min_size=1, max_size=12)))
    probes = np.array(draw(st.lists(st.integers(0, 9), min_size=1, max_size=12)))
    size = len(gallery) * len(probes)
    scores = draw(st.lists(st.integers(0, 8), min_size=size, max_size=size))
    return np.array(scores, np.float32).reshape(len(probes), len(gallery)), probes, gallery


@settings(max_examples=200, deadline=None)
@given(problem=problems(), fusion=st.sampled_from(["max", "median"]))
def test_equals_the_definition(problem: tuple[np.ndarray, np.ndarray, np.ndarray], fusion: str) -> None:
    similarity, probes, gallery = problem
    result = search(similarity, probes, gallery, fusion)
    fuse = {"max": np.max, "median": np.median}[fusion]
    assert result.n_identities == len(set(gallery))
    for row, probe in enumerate(probes):
        by_identity = {i: fuse(similarity[row, gallery == i]) for i in set(gallery)}
        own = by_identity.pop(probe, -np.inf)
        assert result.mated[row] == (probe in gallery)
        assert result.mate[row] == own
        assert result.rival[row] == max(by_identity.values(), default=-np.inf)
        above = sum(score > own for score in by_identity.values())
        assert result.rank[row] == (above + 1 if probe in gallery else 0)


@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_places_are_those_of_a_stable_sort(problem: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    similarity, *_ = problem
    rows, columns = np.indices(similarity.shape).reshape(2, -1)
    order = np.argsort(-similarity, axis=1, kind="stable")
    expected = np.argsort(order, axis=1).ravel() + 1
    np.testing.assert_array_equal(gallery_places(similarity, rows, columns), expected)


def test_more_probes_than_one_block_holds() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((3000, 500)).astype(np.float32)
    probes = rng.integers(0, 1000, 3000)
    before = similarity.copy()
    result = search(similarity, probes, np.arange(500))
    mated = np.flatnonzero(probes < 500)
    own = similarity[mated, probes[mated]]
    np.testing.assert_array_equal(result.mate[mated], own)
    np.testing.assert_array_equal(result.rank[mated], 1 + (similarity[mated] > own[:, None]).sum(axis=1))
    np.testing.assert_array_equal(result.rival[probes >= 500], similarity[probes >= 500].max(axis=1))
    np.testing.assert_array_equal(similarity, before)
    assert result.mate.dtype == np.float32


def test_tensors_and_names() -> None:
    similarity = torch.tensor([[0.5, 0.25], [0.75, 0.125]])
    by_number = search(similarity, torch.tensor([7, 3]), torch.tensor([3, 7]))
    by_name = search(similarity.numpy(), ["b", "a"], ["a", "b"])
    assert by_number.rank.tolist() == by_name.rank.tolist() == [2, 1]
    assert by_number.cmc().tolist() == [0.5, 1.0]
    assert by_number.cmc(1).tolist() == [0.5]


def test_refuses_what_cannot_be_searched() -> None:
    with pytest.raises(UserError, match=r"\[2, 3\], \[2\] and \[2\]"):
        search(np.zeros((2, 3)), [0, 1], [0, 1])
    with pytest.raises(UserError, match="none of them empty"):
        search(np.zeros((0, 2)), [], [0, 1])
    with pytest.raises(UserError, match=r"fusion: expected .*found 'mean'"):
        search(np.zeros((1, 2)), [0], [0, 1], "mean")
    with pytest.raises(UserError, match="no probe has its identity in the gallery"):
        search(np.zeros((1, 2)), [5], [0, 1]).cmc()
    with pytest.raises(UserError, match="0 of 1 probes have their identity in the gallery"):
        _ = search(np.zeros((1, 2)), [5], [0, 1]).open_set
    with pytest.raises(UserError, match="1 of 1 probes have their identity in the gallery"):
        _ = search(np.zeros((1, 2)), [1], [0, 1]).open_set
