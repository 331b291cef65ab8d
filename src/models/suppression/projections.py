"""Methods that project a few directions out of the embedding."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.nn import functional

from src.errors import UserError, check_choice
from src.models.suppression.suppressor import Suppressor

__all__ = ["Classifier", "DirectionEraser", "Inlp", "LinearDiscriminant", "MeanDifference", "NoSuppression"]

Classifier = Literal["logistic_regression", "linear_svm"]


class NoSuppression(Suppressor):
    """The embeddings as they are."""

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """There is nothing to learn."""

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`."""
        return embeddings


class DirectionEraser(Suppressor):
    """Orthogonal projection ``P = I - V^T V`` on what is left beside some directions.

    Attributes:
        directions: Orthonormal rows V, float64 [K, D].
    """

    directions: Tensor

    @property
    def projector(self) -> Tensor:
        """P, float64 [D, D], symmetric and idempotent."""
        return torch.eye(self.directions.shape[1], dtype=torch.float64) - self.directions.T @ self.directions

    def transform(self, embeddings: Tensor) -> Tensor:
        """See `Suppressor.transform`; float64 stays float64."""
        directions = self.directions.to(embeddings)
        return embeddings - embeddings @ directions.T @ directions

    def _erase(self, directions: Tensor) -> None:
        self.directions = directions
        self.parameters = directions.numel()


class MeanDifference(DirectionEraser):
    """Removes the direction between the mean embeddings of the genders.

    After one removal the means agree, so that the same direction would not be found again; every further direction is
    that of the means of the projected embeddings scaled to unit length, as templates are before they are compared.

    Args:
        rounds: Number of directions.

    Raises:
        UserError: ``rounds`` is less than 1.
    """

    def __init__(self, rounds: int = 1) -> None:
        if rounds < 1:
            raise UserError(f"MeanDifference: rounds={rounds}: expected at least 1")
        self.rounds = rounds

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`."""
        embeddings = embeddings.double()
        directions = embeddings.new_empty(0, embeddings.shape[1])
        for _ in range(self.rounds):
            self._erase(directions)
            projected = functional.normalize(self.transform(embeddings)) if len(directions) else embeddings
            directions = torch.cat(
                [directions, functional.normalize(_mean_difference(projected, attributes), dim=0)[None]]
            )
        self._erase(directions)


class LinearDiscriminant(DirectionEraser):
    """Removes Fisher's direction ``w = S^-1 (mean of men - mean of women)``, S the covariance within the genders."""

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`."""
        embeddings = embeddings.double()
        means = torch.stack([embeddings[attributes == code].mean(0) for code in (0, 1)])
        residual = embeddings - means[attributes]
        within = residual.T @ residual / len(embeddings)
        direction = torch.linalg.pinv(within, hermitian=True) @ (means[1] - means[0])
        self._erase(functional.normalize(direction, dim=0)[None])


class Inlp(DirectionEraser):
    """Iterative null-space projection (Ravfogel et al. 2020): removes what one linear classifier after another uses.

    The classifiers weigh the genders equally. A fifth of the people is held out; the first classifier whose balanced
    accuracy on them is too low is not used and ends the iteration, since the next one would be the same.

    Args:
        rounds: Largest number of classifiers.
        classifier: ``"logistic_regression"`` or ``"linear_svm"``.
        min_accuracy: Balanced accuracy from which on a classifier is used.
        seed: Of the choice of the people that are held out.

    Raises:
        UserError: A value is out of its range.
    """

    def __init__(
        self,
        rounds: int = 20,
        classifier: Classifier = "logistic_regression",
        min_accuracy: float = 0.52,
        seed: int = 0,
    ) -> None:
        check_choice("Inlp: classifier", classifier, get_args(Classifier))
        if rounds < 1 or not 0 <= min_accuracy <= 1:
            raise UserError(
                "Inlp: expected rounds of at least 1 and min_accuracy between 0 and 1; "
                f"found {rounds} and {min_accuracy}"
            )
        self.rounds = rounds
        self.classifier = classifier
        self.min_accuracy = min_accuracy
        self.seed = seed

    def check(self, count: int, size: int) -> None:
        """See `Suppressor.check`."""
        if self.rounds >= size:
            raise UserError(f"Inlp: rounds={self.rounds} leave nothing of embeddings of {size} values; lower rounds")

    def fit(self, embeddings: Tensor, attributes: Tensor, labels: Tensor) -> None:
        """See `Suppressor.fit`; needs five women and five men."""
        self.check(*embeddings.shape)
        embeddings = embeddings.double()
        learn, held_out = self._split(attributes, labels)
        weights = embeddings.new_empty(0, embeddings.shape[1])
        self._erase(weights)
        for _ in track(range(self.rounds), "Inlp", console=Console(stderr=True), transient=True):
            projected = self.transform(embeddings)  # always of the original embeddings, so that no error adds up
            classifier = self._make_classifier().fit(projected[learn].numpy(), attributes[learn].numpy())
            predicted = classifier.predict(projected[held_out].numpy())
            if balanced_accuracy_score(attributes[held_out].numpy(), predicted) < self.min_accuracy:
                break
            weights = torch.cat([weights, functional.normalize(torch.from_numpy(classifier.coef_))])
            self._erase(_row_space(weights))

    def _split(self, attributes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=self.seed)
        people = [len(labels[attributes == code].unique()) for code in (0, 1)]
        if min(people) < 5:
            raise UserError(
                f"Inlp: expected at least 5 women and 5 men to learn from; found {people[0]} and {people[1]}"
            )
        learn, held_out = next(folds.split(attributes.numpy(), attributes.numpy(), labels.numpy()))
        return torch.from_numpy(learn), torch.from_numpy(held_out)

    def _make_classifier(self) -> LogisticRegression | LinearSVC:
        if self.classifier == "linear_svm":
            return LinearSVC(class_weight="balanced", random_state=self.seed)
        return LogisticRegression(class_weight="balanced", max_iter=1000)


def _mean_difference(embeddings: Tensor, attributes: Tensor) -> Tensor:
    """Mean of men less that of women, [D]."""
    return embeddings[attributes == 1].mean(0) - embeddings[attributes == 0].mean(0)


def _row_space(weights: Tensor) -> Tensor:
    """Orthonormal rows [K, D] that span the unit rows ``weights``, K their rank.

    The same space as that of the sum of the projectors on each row.
    """
    _, values, rows = torch.linalg.svd(weights, full_matrices=False)
    return rows[values > 1e-6]
