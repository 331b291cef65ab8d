"""Classifiers that guess gender from templates: the standard three of the gender-angular method, and stronger ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from src.errors import UserError

__all__ = ["STANDARD", "AttackerName", "Attackers", "Guesses", "Progress", "check_attackers", "prefixed"]

Array = NDArray[np.float64]
Attributes = NDArray[np.int8]
AttackerName = Literal["logreg", "svm", "rbf", "mlp", "knn", "boosting"]

Progress = Callable[[str], None] | None
"""Told what is under way."""

STANDARD: tuple[AttackerName, ...] = ("logreg", "svm", "rbf")
"""Those whose mean balanced accuracy is published (Rezgui et al. 2024)."""


@dataclass(frozen=True)
class Guesses:
    """What attackers say of n templates.

    Attributes:
        attributes: By attacker int8 [n], 0 female, 1 male.
        decision: float64 [n], value by which the logistic regression decides, male above 0; None without it.
    """

    attributes: dict[str, Attributes]
    decision: Array | None


class _Classifier(Protocol):
    def predict(self, templates: Array) -> NDArray[Any]: ...


class Attackers:
    """Attackers that are trained on templates, all with the defaults of scikit-learn.

    Both support vector machines are trained on kernel matrices that one matrix product gives, which takes a fraction of
    the time that scikit-learn needs by itself, and decides the same.

    Args:
        templates: float64 [n, D] of unit length.
        attributes: int8 [n], 0 female, 1 male; both occur.
        names: See `AttackerName`. ``"mlp"`` has layers of 512 and 256, ``"boosting"`` is by histograms.
        on_progress: Told which attacker is being trained.
    """

    def __init__(
        self,
        templates: Array,
        attributes: Attributes,
        names: Sequence[AttackerName] = STANDARD,
        on_progress: Progress = None,
    ) -> None:
        self.dimensions = templates.shape[1]
        self._classifiers: dict[str, _Classifier] = {}
        gram = templates @ templates.T if {"svm", "rbf"} & set(names) else None
        with _without_warnings():
            # The radial kernel takes the place of the linear one.
            for name in sorted(names, key=lambda name: name == "rbf"):
                if on_progress is not None:
                    on_progress(name)
                if gram is not None and name in ("svm", "rbf"):
                    self._classifiers[name] = _SupportVectors(templates, attributes, gram, radial=name == "rbf")
                else:
                    self._classifiers[name] = _CLASSIFIERS[name]().fit(templates, attributes)
        self._classifiers = {name: self._classifiers[name] for name in names}

    def guess(self, templates: Array) -> Guesses:
        """Guess the genders of templates, float64 [n, D] of unit length."""
        guesses = {name: c.predict(templates).astype(np.int8) for name, c in self._classifiers.items()}
        linear = self._classifiers.get("logreg")
        return Guesses(guesses, None if linear is None else linear.decision_function(templates))  # type: ignore[attr-defined]


def check_attackers(names: Sequence[str]) -> None:
    """Raise UserError unless ``names`` are those of one or more attackers, each once."""
    known = get_args(AttackerName)
    wrong = [name for name in names if name not in known]
    if wrong or not names or len(set(names)) < len(names):
        raise UserError(f"attackers: expected some of {', '.join(known)}, each once, found {list(names)}")


def prefixed(prefix: str, on_progress: Progress) -> Progress:
    """``on_progress`` that is told ``prefix`` before every text."""
    return None if on_progress is None else lambda text: on_progress(prefix + text)


class _SupportVectors:
    """A support vector machine whose kernel matrix is given.

    Args:
        templates: float64 [n, D].
        attributes: [n], 0 or 1.
        gram: [n, n] inner products of the templates; overwritten if ``radial``.
        radial: Use scikit-learn's kernel ``"rbf"`` with ``gamma="scale"`` instead of ``"linear"``.
    """

    def __init__(self, templates: Array, attributes: Attributes, gram: Array, *, radial: bool) -> None:
        self._gamma = _scale(templates) if radial else None
        if self._gamma is not None:
            squares = gram.diagonal().copy()
            _to_radial(gram, squares, squares, self._gamma)
        machine = SVC(kernel="precomputed", cache_size=_CACHE).fit(gram, attributes)
        self._vectors = templates[machine.support_]
        self._weights, self._offset = machine.dual_coef_[0], machine.intercept_[0]

    def predict(self, templates: Array) -> NDArray[np.bool_]:
        kernel = templates @ self._vectors.T
        if self._gamma is not None:
            _to_radial(kernel, _squares(templates), _squares(self._vectors), self._gamma)
        return kernel @ self._weights + self._offset > 0


_CACHE = 1000  # MB that a support vector machine may use; it changes the time only

_CLASSIFIERS: Mapping[str, Callable[[], Any]] = {
    "logreg": LogisticRegression,
    "mlp": lambda: MLPClassifier((512, 256), random_state=0),
    "knn": KNeighborsClassifier,
    "boosting": lambda: HistGradientBoostingClassifier(random_state=0),
}


def _scale(templates: Array) -> float:
    """What scikit-learn calls ``gamma="scale"``."""
    variance = templates.var()
    return 1 / (templates.shape[1] * variance) if variance else 1.0


def _to_radial(products: Array, rows: Array, columns: Array, gamma: float) -> None:
    """Turn inner products [n, m] into ``exp(-gamma ||a - b||^2)`` in place, given squared lengths [n] and [m]."""
    products *= 2
    products -= rows[:, None]
    products -= columns
    np.minimum(products, 0, out=products)
    products *= gamma
    np.exp(products, out=products)


def _squares(templates: Array) -> Array:
    return np.einsum("nd,nd->n", templates, templates)


@contextmanager
def _without_warnings() -> Any:
    """Silence what scikit-learn says of an attack that is run as it is defined, converged or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
