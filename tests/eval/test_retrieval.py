from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.eval import retrieval
from src.eval.embedding_matching import CosineMatcher
from src.eval.matching import SymbolMatcher
from src.eval.retrieval import Retrieved, retrieve


def made_up(relevant: list[list[int]], n_relevant: list[int]) -> Retrieved:
    hits = np.array(relevant, bool)
    return Retrieved(np.zeros(hits.shape, int), np.zeros(hits.shape, np.float32), hits, np.array(n_relevant))


def test_the_measures_by_hand() -> None:
    found = made_up([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], [3, 1, 2])
    assert found.average_precision().tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 4, 0])
    assert found.recognition(1).tolist() == [1, 0, 0]
    assert found.recognition(2).tolist() == [0.5, 0, 0]
    assert found.recognition(4).tolist() == pytest.approx([2 / 3, 1, 0])
    assert found.found(3).tolist() == [True, False, False]


@settings(max_examples=30, deadline=None)
@given(
    probes=st.integers(1, 12), gallery=st.integers(2, 60), depth=st.integers(1, 70), m=st.integers(2, 6), q=st.just(2)
)
def test_the_order_is_that_of_a_stable_sort(probes: int, gallery: int, depth: int, m: int, q: int) -> None:
    generator = torch.Generator().manual_seed(gallery)
    first, second = (torch.randint(0, q, (n, m), generator=generator, dtype=torch.uint8) for n in (probes, gallery))
    people = np.arange(gallery) % 2
    found = retrieve(first, people[np.arange(probes) % gallery], second, people, depth, SymbolMatcher(q))
    similarity = SymbolMatcher(q).matrix(first, second)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
    assert np.array_equal(found.columns, order)
    assert np.array_equal(found.similarities, np.take_along_axis(similarity, order, axis=1))
    assert found.n_relevant.tolist() == [(people == people[i % gallery]).sum() for i in range(probes)]


def test_probes_are_searched_for_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    probes, gallery = torch.randn(40, 8, generator=generator), torch.randn(100, 8, generator=generator)
    ids = np.arange(100) % 10
    whole = retrieve(probes, ids[:40], gallery, ids, 7, CosineMatcher())
    monkeypatch.setattr(retrieval, "_BLOCK", 300)
    parts = retrieve(probes, ids[:40], gallery, ids, 7, CosineMatcher())
    assert np.array_equal(whole.columns, parts.columns)
    assert np.array_equal(whole.relevant, ids[whole.columns] == ids[:40, None])


def test_nobody_is_searched_for_in_vain() -> None:
    with pytest.raises(UserError, match="2 of 3 probes show people of whom the gallery has no image"):
        retrieve(torch.ones(3, 2), np.array([1, 5, 9]), torch.ones(2, 2), np.array([1, 2]), 1, CosineMatcher())
