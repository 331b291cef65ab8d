"""How well gender can be told from templates (Rezgui et al. 2024, Gender Privacy Angular Constraints)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from src.errors import UserError
from src.eval.bootstrap import Interval, interval
from src.eval.collector import check_finite
from src.eval.gender_attackers import STANDARD, AttackerName, Attackers, Guesses, Progress, check_attackers, prefixed
from src.eval.gender_folds import choose_faces, subject_folds
from src.eval.trade_off import privacy_identity_coefficient
from src.eval.unit_vectors import l2_normalise

__all__ = [
    "AttackResult",
    "FoldAttack",
    "attack",
    "attack_transfer",
    "mean_of_standard",
    "privacy_identity_coefficient",
]

Array = NDArray[np.float64]
Attributes = NDArray[np.int8]


@dataclass(frozen=True)
class AttackResult:
    """What attackers guess of people they never met.

    Attributes:
        faces: [n] indices of the faces that were attacked among those given.
        subjects: [n] number of the person on each.
        attributes: int8 [n], 0 female, 1 male.
        fold: [n] fold in which each was guessed; folds are numbered from 0.
        guesses: By attacker int8 [n].
        decision: float64 [n], value by which the logistic regression decides, male above 0; None without it.
    """

    faces: NDArray[np.intp]
    subjects: NDArray[Any]
    attributes: Attributes
    fold: NDArray[np.intp]
    guesses: dict[str, Attributes]
    decision: Array | None

    @property
    def balanced_accuracies(self) -> dict[str, float]:
        """By attacker, mean over the folds; 0.5 is as good as guessing blindly."""
        return {
            name: float(np.mean([_balanced_accuracy(self.attributes[rows], guess[rows]) for rows in self._folds()]))
            for name, guess in self.guesses.items()
        }

    @property
    def accuracies(self) -> dict[str, float]:
        """Share of right guesses by attacker, mean over the folds."""
        return {
            name: float(np.mean([(self.attributes[rows] == guess[rows]).mean() for rows in self._folds()]))
            for name, guess in self.guesses.items()
        }

    @property
    def auc(self) -> float:
        """Area under the ROC curve of the logistic regression, mean over the folds; NaN without it."""
        if self.decision is None:
            return math.nan
        return float(np.mean([roc_auc_score(self.attributes[rows], self.decision[rows]) for rows in self._folds()]))

    @property
    def v_information(self) -> float:
        """What a logistic regression learns of gender, in nats: ln 2 less its log-loss; below 0 where it is misled.

        Xu et al. (2020, A Theory of Usable Information under Computational Constraints); NaN without the attacker.
        """
        if self.decision is None:
            return math.nan
        losses = np.logaddexp(0, np.where(self.attributes == 1, -self.decision, self.decision))
        return math.log(2) - float(np.mean([losses[rows].mean() for rows in self._folds()]))

    def interval(self, resamples: int) -> Interval:
        """Bootstrap interval of the mean of the standard attackers over other people of the same kind.

        Args:
            resamples: Number of bootstrap resamples R, at least 1.
        """
        generator = np.random.default_rng(0)
        means = np.mean([self._resample(rows, resamples, generator) for rows in self._folds()], axis=0)
        return interval(means[~np.isnan(means)])

    def _resample(self, rows: NDArray[np.intp], resamples: int, generator: np.random.Generator) -> Array:
        """[R] balanced accuracies of one fold."""
        people, person = np.unique(self.subjects[rows], return_inverse=True)
        drawn = generator.multinomial(len(people), np.full(len(people), 1 / len(people)), resamples)
        recalls = []
        for gender in (0, 1):
            is_gender = self.attributes[rows] == gender
            right = np.mean([self.guesses[name][rows] == gender for name in STANDARD], axis=0)
            hits = drawn @ np.bincount(person[is_gender], right[is_gender], len(people))
            faces = drawn @ np.bincount(person[is_gender], minlength=len(people))
            recalls.append(np.divide(hits, faces, out=np.full(resamples, np.nan), where=faces > 0))
        return np.mean(recalls, axis=0)

    def _folds(self) -> Iterator[NDArray[np.intp]]:
        return (np.flatnonzero(self.fold == number) for number in range(int(self.fold.max()) + 1))


class FoldAttack:
    """Attackers trained in subject-disjoint folds; `test` has each guess the people that it did not meet.

    Args:
        templates: [N, D] of any scale: they are L2-normalised in float64.
        subjects: [N] number of the person on each face.
        attributes: [N], 0 female, 1 male.
        attackers: See `src.eval.gender_attackers.AttackerName`.
        folds: Number of folds.
        max_samples: At most so many of the faces are used, see `choose_faces`; None for all.
        on_progress: Told which attacker is being trained.

    Raises:
        UserError: Shapes disagree, a template is not finite, a gender is missing or has too few people.
    """

    def __init__(
        self,
        templates: ArrayLike | torch.Tensor,
        subjects: ArrayLike,
        attributes: ArrayLike,
        *,
        attackers: Sequence[AttackerName] = STANDARD,
        folds: int = 3,
        max_samples: int | None = None,
        on_progress: Progress = None,
    ) -> None:
        check_attackers(attackers)
        all_subjects, all_attributes = np.asarray(subjects), np.asarray(attributes, np.int8)
        self._count = len(all_subjects)
        unit = self._unit(templates)
        if all_subjects.shape != (self._count,) or all_attributes.shape != all_subjects.shape:
            raise UserError(
                "a gender attack expects templates [N, D], subjects [N] and attributes [N], "
                f"but got {list(unit.shape)}, {list(all_subjects.shape)} and {list(all_attributes.shape)}"
            )
        self._faces = choose_faces(all_subjects, all_attributes, max_samples, folds)
        self._subjects, self._attributes = all_subjects[self._faces], all_attributes[self._faces]
        self._splits = subject_folds(self._subjects, self._attributes, folds)
        self._attackers = []
        for number, (train, _) in enumerate(self._splits, start=1):
            tell = prefixed(f"fold {number} of {folds}, ", on_progress)
            self._attackers.append(Attackers(unit[self._faces[train]], self._attributes[train], attackers, tell))

    def test(self, templates: ArrayLike | torch.Tensor) -> AttackResult:
        """Attack templates [N, D] of the same faces, e.g. those that protect the ones the attackers learnt from."""
        unit = self._unit(templates)[self._faces]
        fold = np.empty(len(unit), np.intp)
        tested: list[Guesses] = []
        for number, (attackers, (_, test)) in enumerate(zip(self._attackers, self._splits, strict=True)):
            fold[test] = number
            tested.append(attackers.guess(unit[test]))
        order = np.argsort(np.concatenate([test for _, test in self._splits]))
        decisions = [guesses.decision for guesses in tested if guesses.decision is not None]
        return AttackResult(
            faces=self._faces,
            subjects=self._subjects,
            attributes=self._attributes,
            fold=fold,
            guesses={
                name: np.concatenate([guesses.attributes[name] for guesses in tested])[order]
                for name in tested[0].attributes
            },
            decision=np.concatenate(decisions)[order] if decisions else None,
        )

    def _unit(self, templates: ArrayLike | torch.Tensor) -> Array:
        unit = _unit(templates)
        if unit.ndim != 2 or len(unit) != self._count:
            raise UserError(f"a gender attack expects templates [{self._count}, D], found {list(unit.shape)}")
        return unit


def attack(
    templates: ArrayLike | torch.Tensor,
    subjects: ArrayLike,
    attributes: ArrayLike,
    *,
    attackers: Sequence[AttackerName] = STANDARD,
    folds: int = 3,
    max_samples: int | None = None,
    on_progress: Progress = None,
) -> AttackResult:
    """Guess gender by attackers that learn from templates of the same kind, of other people.

    Arguments and errors are those of `FoldAttack`.
    """
    trained = FoldAttack(
        templates,
        subjects,
        attributes,
        attackers=attackers,
        folds=folds,
        max_samples=max_samples,
        on_progress=on_progress,
    )
    return trained.test(templates)


def attack_transfer(
    attackers: Attackers, templates: ArrayLike | torch.Tensor, attributes: ArrayLike
) -> dict[str, float]:
    """Balanced accuracy of attackers that were trained on another set of faces, whose people are others.

    Args:
        attackers: Trained.
        templates: [n, D] of any scale, D as in training.
        attributes: [n], 0 female, 1 male.

    Returns:
        By attacker.
    """
    truth = np.asarray(attributes)
    guesses = attackers.guess(_unit(templates)).attributes
    return {name: _balanced_accuracy(truth, guess) for name, guess in guesses.items()}


def mean_of_standard(balanced_accuracies: Mapping[str, float]) -> float:
    """Mean over the three standard attackers, the number that is published; NaN if one of them is missing."""
    return float(np.mean([balanced_accuracies.get(name, math.nan) for name in STANDARD]))


def _balanced_accuracy(truth: NDArray[Any], guess: NDArray[Any]) -> float:
    return float(np.mean([(guess[truth == gender] == gender).mean() for gender in (0, 1)]))


def _unit(templates: ArrayLike | torch.Tensor) -> Array:
    array = templates.detach().cpu().numpy() if isinstance(templates, torch.Tensor) else np.asarray(templates)
    check_finite(array, "templates")
    return l2_normalise(array.astype(np.float64))
