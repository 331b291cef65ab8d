from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_toy import toy
from torch.nn import functional

from src.errors import UserError
from src.models.suppression.noise import Csn, Esn, Seeded
from src.models.suppression.pe_miu import PeMiu

EMBEDDINGS = toy(20, 5).embeddings


class TestCsn:
    @given(cosine=st.floats(-1, 1), seed=st.integers(0, 1000))
    @settings(max_examples=30, deadline=None)
    def test_the_cosine_with_the_embedding_is_fixed(self, cosine: float, seed: int) -> None:
        templates = Csn(cosine, seed=seed).transform(EMBEDDINGS)
        found = functional.cosine_similarity(templates.double(), EMBEDDINGS.double())
        assert (found - cosine).abs().max() < 1e-6

    def test_lengths_are_whole_numbers_up_to_the_largest(self) -> None:
        lengths = Csn(max_length=7).transform(EMBEDDINGS).norm(dim=1)
        assert torch.allclose(lengths, lengths.round(), atol=1e-4)
        assert set(lengths.round().int().tolist()) == set(range(1, 8))

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(UserError, match=r"found 1\.5 and 100"):
            Csn(1.5)


class TestEsn:
    @given(distance=st.floats(0, 10), seed=st.integers(0, 1000))
    @settings(max_examples=30, deadline=None)
    def test_the_distance_from_the_embedding_is_fixed(self, distance: float, seed: int) -> None:
        templates = Esn(distance, seed).transform(EMBEDDINGS)
        assert torch.allclose((templates - EMBEDDINGS).norm(dim=1), torch.tensor(distance), atol=1e-5)

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(UserError, match="distance=-1"):
            Esn(-1)


@pytest.mark.parametrize("method", [Csn, Esn, PeMiu])
def test_noise_is_repeated_for_the_same_set_only(method: type[Seeded]) -> None:
    templates = method(seed=1).transform(EMBEDDINGS)
    assert torch.equal(templates, method(seed=1).transform(EMBEDDINGS.clone()))
    assert not torch.equal(templates, method(seed=2).transform(EMBEDDINGS))
    assert not torch.equal(templates[:50], method(seed=1).transform(EMBEDDINGS[:50]))
    assert not method.per_view
    assert method().parameters == 0
