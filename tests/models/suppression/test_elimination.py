from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from support_toy import SIZE, toy

from src.errors import UserError
from src.models.suppression.elimination import Ive, MultiIve

DATA = toy(40, 5)


def wide(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise of so many values, the first of which tells gender."""
    values = torch.randn(200, size, generator=torch.Generator().manual_seed(0))
    values[:, 0] = 2.0 * DATA.attributes - 1 + 0.1 * values[:, 0]
    return values, DATA.attributes, DATA.labels


class TestIve:
    def test_a_fifth_of_512_values_is_dropped(self) -> None:
        method = Ive(trees=3)
        data = wide(512)
        method.fit(*data)
        assert method.transform(data[0]).shape == (200, 412)
        assert method.parameters == 2 * 412

    @pytest.mark.parametrize(("size", "of", "kept"), [(128, 512, 103), (SIZE, 512, 52), (128, None, 28)])
    def test_shorter_embeddings_lose_the_same_share(self, size: int, of: int | None, kept: int) -> None:
        method = Ive(trees=3, of=of)
        method.fit(*wide(size))
        assert len(method.kept) == kept

    def test_what_tells_gender_goes_first(self) -> None:
        method = Ive(steps=1, per_step=1, of=None)
        data = wide(32)
        method.fit(*data)
        assert method.kept.tolist() == list(range(1, 32))
        expected = StandardScaler().fit_transform(data[0].double())[:, 1:]
        assert np.allclose(method.transform(data[0]), expected, atol=1e-6)

    def test_the_same_seed_drops_the_same(self) -> None:
        first, second, other = Ive(seed=1), Ive(seed=1), Ive(seed=2)
        for method in (first, second, other):
            method.fit(*DATA)
        assert np.array_equal(first.kept, second.kept)
        assert not np.array_equal(first.kept, other.kept)

    def test_dropping_all_is_refused(self) -> None:
        with pytest.raises(UserError, match="20 steps of 5 eliminate 100 of 64 variables"):
            Ive(of=None).check(200, SIZE)
        with pytest.raises(UserError, match="steps=0"):
            Ive(steps=0)


class TestMultiIve:
    @pytest.mark.parametrize("domain", ["pca", "ica", "none"])
    def test_templates_are_as_long_as_embeddings(self, domain: Any) -> None:
        method = MultiIve(steps=2, per_step=3, of=None, trees=3, domain=domain)
        method.fit(*DATA)
        assert method.transform(DATA.embeddings).shape == DATA.embeddings.shape
        assert len(method.kept) == SIZE - 6

    def test_eliminated_components_are_zero(self) -> None:
        method = MultiIve(steps=2, per_step=3, of=None, trees=3)
        method.fit(*DATA)
        scaler = StandardScaler().fit(DATA.embeddings.double())
        components = PCA(svd_solver="full").fit(scaler.transform(DATA.embeddings.double()))
        before = components.transform(scaler.transform(DATA.embeddings.double()))
        after = components.transform(method.transform(DATA.embeddings).double())
        eliminated = np.setdiff1d(np.arange(SIZE), method.kept)
        assert np.abs(after[:, eliminated]).max() < 1e-5
        assert np.allclose(after[:, method.kept], before[:, method.kept], atol=1e-5)

    @pytest.mark.parametrize("blocked", [3, 5])
    def test_blocked_components_are_kept(self, blocked: int) -> None:
        free, method = (MultiIve(steps=10, per_step=3, of=None, blocked=count) for count in (0, blocked))
        free.fit(*DATA)
        method.fit(*DATA)
        assert not set(range(blocked)) <= set(free.kept.tolist())
        assert set(range(blocked)) <= set(method.kept.tolist())
        assert len(method.kept) == len(free.kept)

    def test_the_default_eliminates_120_of_512(self) -> None:
        assert MultiIve().eliminated_per_step(512).tolist() == [3] * 40
        assert MultiIve().eliminated_per_step(128).sum() == 30

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(UserError, match="pca, ica or none"):
            MultiIve(domain="nmf")  # type: ignore[arg-type]
        with pytest.raises(UserError, match="blocked=-1"):
            MultiIve(blocked=-1)
        with pytest.raises(UserError, match="of which 60 are blocked"):
            MultiIve(steps=1, per_step=4, of=None, blocked=60).check(200, SIZE)
