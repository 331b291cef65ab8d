from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.svm import SVC

from src.errors import UserError
from src.eval.gender_attackers import STANDARD, Attackers, check_attackers


def faces(shift: float, *, count: int = 600, size: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit templates whose genders overlap the less the larger ``shift`` is."""
    rng = np.random.default_rng(seed)
    attributes = (rng.random(count) < 0.4).astype(np.int8)
    templates = rng.standard_normal((count, size))
    templates[:, 0] += shift * (2 * attributes - 1)
    return templates / np.linalg.norm(templates, axis=1, keepdims=True), attributes


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0, 4.0])
def test_support_vector_machines_decide_as_scikit_learn_does(shift: float) -> None:
    templates, attributes = faces(shift)
    others, _ = faces(shift, count=2000, seed=1)
    guesses = Attackers(templates, attributes, ("rbf", "svm")).guess(others).attributes
    for name, kernel in (("svm", "linear"), ("rbf", "rbf")):
        machine = SVC(kernel=kernel).fit(templates, attributes)
        # Who lies as near to the border as rounding is may be told to either side.
        certain = np.abs(machine.decision_function(others)) > 1e-3
        assert certain.mean() > 0.98
        assert np.array_equal(guesses[name][certain], machine.predict(others)[certain])


def test_templates_that_are_all_the_same() -> None:
    _, attributes = faces(0.0, count=30)
    guesses = Attackers(np.zeros((30, 4)), attributes).guess(np.zeros((5, 4)))
    for name, guess in guesses.attributes.items():
        assert len(set(guess)) == 1, name


def test_each_attacker_learns() -> None:
    templates, attributes = faces(2.0)
    others, truth = faces(2.0, seed=1)
    names = (*STANDARD, "mlp", "knn", "boosting")
    told: list[str] = []
    guesses = Attackers(templates, attributes, names, told.append).guess(others)
    assert sorted(told) == sorted(names)
    assert tuple(guesses.attributes) == names
    for name, guess in guesses.attributes.items():
        assert guess.dtype == np.int8
        assert (guess == truth).mean() > 0.9, name
    assert np.array_equal(guesses.decision > 0, guesses.attributes["logreg"] == 1)


def test_only_the_logistic_regression_gives_a_decision() -> None:
    assert Attackers(*faces(1.0), ("knn",)).guess(faces(1.0)[0]).decision is None


def test_attackers_that_do_not_converge_are_silent() -> None:
    templates, attributes = faces(0.0, count=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Attackers(1e4 * templates, attributes, ("logreg", "mlp"))


@pytest.mark.parametrize("names", [[], ["svm", "svm"], ["logreg", "forest"]])
def test_refuses_other_attackers(names: list[str]) -> None:
    with pytest.raises(UserError, match="attackers: expected some of logreg, svm, rbf, mlp, knn, boosting"):
        check_attackers(names)
