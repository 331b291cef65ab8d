from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from support_toy import SIZE, toy
from torch.nn import functional

from src.errors import UserError
from src.models.suppression.projections import (
    Classifier,
    DirectionEraser,
    Inlp,
    LinearDiscriminant,
    MeanDifference,
    NoSuppression,
)

DATA = toy()


def mean_difference(embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings[DATA.attributes == 1].mean(0) - embeddings[DATA.attributes == 0].mean(0)


def check_projection(eraser: DirectionEraser, rank: int) -> None:
    projector = eraser.projector
    assert torch.allclose(projector, projector.T, atol=1e-12)
    assert torch.allclose(projector @ projector, projector, atol=1e-12)
    assert torch.linalg.matrix_rank(projector) == rank
    assert torch.allclose(eraser.transform(DATA.embeddings), DATA.embeddings @ projector.float(), atol=1e-6)


def test_no_suppression_is_the_identity() -> None:
    method = NoSuppression()
    method.fit(*DATA)
    assert torch.equal(method.transform(DATA.embeddings), DATA.embeddings)
    assert method.parameters == 0
    assert method.matcher is None


class TestMeanDifference:
    def test_the_means_of_the_genders_agree(self) -> None:
        method = MeanDifference()
        method.fit(*DATA)
        assert mean_difference(method.transform(DATA.embeddings.double())).norm() < 1e-12
        assert mean_difference(DATA.embeddings).norm() > 0.5
        assert method.parameters == SIZE
        check_projection(method, SIZE - 1)

    @given(rounds=st.integers(1, 6), seed=st.integers(0, 100))
    @settings(max_examples=10, deadline=None)
    def test_every_round_removes_one_more_direction(self, rounds: int, seed: int) -> None:
        method = MeanDifference(rounds)
        method.fit(*toy(20, 4, seed))
        assert torch.allclose(method.directions @ method.directions.T, torch.eye(rounds).double(), atol=1e-9)

    def test_the_second_direction_is_that_of_the_scaled_templates(self) -> None:
        first, second = MeanDifference(1), MeanDifference(2)
        first.fit(*DATA)
        second.fit(*DATA)
        direction = mean_difference(functional.normalize(first.transform(DATA.embeddings.double())))
        assert torch.allclose(second.directions[1], functional.normalize(direction, dim=0), atol=1e-9)

    def test_no_round_is_refused(self) -> None:
        with pytest.raises(UserError, match="rounds=0"):
            MeanDifference(0)


class TestLinearDiscriminant:
    def test_it_removes_the_direction_of_linear_discriminant_analysis(self) -> None:
        method = LinearDiscriminant()
        method.fit(*DATA)
        reference = LinearDiscriminantAnalysis(solver="eigen").fit(
            DATA.embeddings.double().numpy(), DATA.attributes.numpy()
        )
        expected = reference.coef_[0] / np.linalg.norm(reference.coef_)
        assert np.abs(method.directions[0].numpy() @ expected) == pytest.approx(1, abs=1e-6)
        check_projection(method, SIZE - 1)
        projected = method.transform(DATA.embeddings.double()) @ method.directions.T
        assert projected.abs().max() < 1e-12


class TestInlp:
    @pytest.mark.parametrize("classifier", ["logistic_regression", "linear_svm"])
    def test_it_is_a_projection_of_the_rank_that_is_left(self, classifier: str) -> None:
        method = Inlp(rounds=3, classifier=cast(Classifier, classifier), min_accuracy=0)
        method.fit(*DATA)
        assert method.directions.shape == (3, SIZE)
        assert method.parameters == 3 * SIZE
        check_projection(method, SIZE - 3)

    def test_it_stops_when_people_it_has_not_met_cannot_be_told(self) -> None:
        method = Inlp()
        method.fit(*DATA)
        assert 1 <= len(method.directions) < 20
        erased = method.transform(DATA.embeddings).numpy()
        assert LogisticRegression().fit(erased, DATA.attributes).score(erased, DATA.attributes) < 0.8
        impossible = Inlp(min_accuracy=1.0)
        impossible.fit(DATA.embeddings, DATA.attributes.flip(0).roll(3), DATA.labels)
        assert len(impossible.directions) == 0
        assert torch.equal(impossible.transform(DATA.embeddings), DATA.embeddings)

    def test_the_same_seed_gives_the_same_projection(self) -> None:
        first, second = Inlp(rounds=2, seed=1), Inlp(rounds=2, seed=1)
        first.fit(*DATA)
        second.fit(*DATA)
        assert torch.equal(first.directions, second.directions)

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(UserError, match="'tree'"):
            Inlp(classifier="tree")  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"found 0 and 0\.5"):
            Inlp(rounds=0, min_accuracy=0.5)
        with pytest.raises(UserError, match="rounds=64 leave nothing of embeddings of 64 values"):
            Inlp(rounds=64).check(800, SIZE)
        with pytest.raises(UserError, match="found 4 and 4"):
            Inlp().fit(*toy(people=8))
