from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.svm import SVC
from support_toy import SIZE, Toy, toy
from torch import Tensor
from torch.nn import functional

from src.errors import UserError
from src.eval.verification import verify
from src.models.suppression.leace import Leace, shrunk_covariance
from src.models.suppression.projections import NoSuppression
from src.models.suppression.suppressor import Suppressor


def cross_covariance(values: Tensor, attributes: Tensor) -> Tensor:
    gender = attributes.double() - attributes.double().mean()
    return (values - values.mean(0)).T @ gender / len(values)


def attack(templates: Tensor, data: Toy) -> list[float]:
    """Balanced accuracies of logistic regression, a linear and an RBF SVM on people they did not meet."""
    return [
        cross_val_score(
            model,
            functional.normalize(templates).numpy(),
            data.attributes,
            groups=data.labels,
            cv=StratifiedGroupKFold(3),
            scoring="balanced_accuracy",
        ).mean()
        for model in (LogisticRegression(), SVC(kernel="linear"), SVC())
    ]


def equal_error_rate(method: Suppressor, data: Toy) -> float:
    first, second = torch.triu_indices(len(data.labels), len(data.labels), 1)
    templates = method.transform(data.embeddings)
    return verify(templates[first], templates[second], data.labels[first] == data.labels[second], 1).eer


class TestErasure:
    @given(seed=st.integers(0, 1000), people=st.integers(10, 60))
    @settings(max_examples=15, deadline=None)
    def test_no_covariance_with_gender_is_left(self, seed: int, people: int) -> None:
        data = toy(people, seed=seed)
        method = Leace()
        method.fit(*data)
        erased = method.transform(data.embeddings.double())
        assert cross_covariance(erased, data.attributes).abs().max() < 1e-12

    def test_the_edit_has_rank_one(self) -> None:
        data = toy()
        for variant in ("whitened", "orth"):
            method = Leace(variant)  # type: ignore[arg-type]
            method.fit(*data)
            assert torch.linalg.matrix_rank(method.edit) == 1
            assert torch.allclose(method.edit @ method.edit, method.edit, atol=1e-10)
            assert method.parameters == 3 * SIZE
            change = data.embeddings.double() - method.transform(data.embeddings.double())
            assert torch.linalg.matrix_rank(change) == 1

    def test_linear_models_are_at_chance_on_what_it_was_fitted_to(self) -> None:
        data = toy()
        method = Leace()
        method.fit(*data)
        erased = method.transform(data.embeddings.double()).numpy()
        predicted = LogisticRegression().fit(erased, data.attributes).predict(erased)
        assert balanced_accuracy_score(data.attributes, predicted) == 0.5

    def test_it_changes_less_than_any_projection_along_another_direction(self) -> None:
        data = toy()
        whitened, orthogonal = Leace(), Leace("orth")
        whitened.fit(*data)
        orthogonal.fit(*data)
        values = data.embeddings.double()
        changes = [(values - method.transform(values)).square().sum() for method in (whitened, orthogonal)]
        assert changes[0] < changes[1]
        assert cross_covariance(orthogonal.transform(values), data.attributes).abs().max() < 1e-12

    def test_directions_without_variance_do_not_matter(self) -> None:
        data = toy()
        flat = torch.cat([data.embeddings, torch.zeros(len(data.labels), 8)], dim=1)
        method, wide = Leace(), Leace()
        method.fit(*data)
        wide.fit(flat, data.attributes, data.labels)
        assert torch.allclose(wide.transform(flat)[:, :SIZE], method.transform(data.embeddings), atol=1e-6)

    def test_without_covariance_with_gender_nothing_changes(self) -> None:
        data = toy()
        method = Leace()
        method.fit(data.embeddings.repeat_interleave(2, 0), torch.tensor([0, 1]).repeat(800), data.labels.repeat(2))
        assert torch.equal(method.transform(data.embeddings), data.embeddings)
        assert method.parameters == SIZE

    def test_an_unknown_variant_is_refused(self) -> None:
        with pytest.raises(UserError, match="whitened or orth, found 'zca'"):
            Leace("zca")  # type: ignore[arg-type]


class TestShrinkage:
    def test_the_estimate_by_the_formula(self) -> None:
        covariance = torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64))
        trace, target, spread = 15.0, 45.0, 55 * 45.0 - 45.0**2
        weight = 1 - trace**2 * target / 100 / spread
        expected = weight * covariance + (1 - weight) * 3 * torch.eye(5)
        assert torch.allclose(shrunk_covariance(covariance, 100), expected)
        assert torch.allclose(shrunk_covariance(covariance, 2), 3 * torch.eye(5).double())

    @given(seed=st.integers(0, 1000))
    @settings(max_examples=15, deadline=None)
    def test_the_variance_never_rises(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        scale = torch.logspace(-2, 1, 40)
        values = (torch.randn(30, 40, generator=generator) * scale).double()
        attributes = torch.arange(30) % 2
        method = Leace(shrinkage=True)
        method.fit(values, attributes, attributes)
        assert method.transform(values).var(0).sum() <= values.var(0).sum() * (1 + 1e-9)


def test_toy_people_give_the_published_orders_of_magnitude() -> None:
    """Means over four draws; one draw scatters by 0.1 around them."""
    rates, before, errors = [], [], []
    for seed in range(4):
        train, test = toy(80, seed=seed), toy(60, seed=100 + seed)
        method = Leace()
        method.fit(*train)
        rates.append(attack(method.transform(test.embeddings), test))
        before.append(attack(test.embeddings, test))
        errors.append(equal_error_rate(method, test))
        assert equal_error_rate(NoSuppression(), test) < 1e-3
    assert np.mean(before, axis=0) == pytest.approx([1.0, 0.98, 0.998], abs=0.03)
    assert np.mean(rates, axis=0) == pytest.approx([0.63, 0.64, 0.675], abs=0.1)
    assert np.mean(errors) < 1e-3
