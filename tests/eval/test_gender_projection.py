from __future__ import annotations

import numpy as np
import pytest
import torch
from support_gender import embeddings, people

from src.eval.gender import attack
from src.eval.gender_projection import project

FACES = torch.nn.functional.normalize(embeddings(1.0)["original"][-len(people()[0]) :])


def test_shows_decision_and_principal_component() -> None:
    result = attack(FACES, *people())
    projection = project(FACES, result)
    assert projection is not None
    assert projection.attribute == people()[1].tolist()
    decision, male = np.array(projection.decision), np.array(projection.attribute) == 1
    assert decision.std() == pytest.approx(1, abs=1e-2)
    assert ((decision > 0) == male).mean() > 0.9
    centred = (FACES - FACES.mean(dim=0)).double()
    first = centred @ torch.linalg.svd(centred).Vh[0]
    assert abs(np.corrcoef(first.numpy(), projection.component)[0, 1]) == pytest.approx(1, abs=1e-4)
    assert all(round(value, 3) == value for value in (*projection.decision, *projection.component))


def test_many_points_are_thinned() -> None:
    subjects = np.repeat(np.arange(700), 3)
    templates = torch.randn(2100, 4, generator=torch.Generator().manual_seed(0))
    projection = project(templates, attack(templates, subjects, subjects % 2, attackers=("logreg",)))
    assert projection is not None
    assert len(projection.decision) == len(projection.component) == len(projection.attribute) == 700


def test_needs_the_linear_attacker() -> None:
    assert project(FACES, attack(FACES, *people(), attackers=("knn",))) is None
