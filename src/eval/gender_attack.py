"""The attacks on the faces of one set: by attackers that learn from it, from it before protection, or from others."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from src.datamodules.gender_sets import GenderFaces
from src.eval.gender import AttackResult, FoldAttack, attack_transfer, mean_of_standard
from src.eval.gender_attackers import STANDARD, AttackerName, Attackers, Progress
from src.eval.gender_folds import choose_faces, subject_folds

__all__ = ["GenderAttack"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class GenderAttack:
    """Attacks on templates [G, D] of the faces of one set.

    Args:
        faces: The faces.
        attackers: See `src.eval.gender_attackers.AttackerName`.
        folds: Number of subject-disjoint folds.
        max_samples: At most so many faces are used, see `choose_faces`; None for all.

    Raises:
        UserError: There are too few people of a gender.
    """

    def __init__(
        self, faces: GenderFaces, attackers: Sequence[AttackerName], folds: int, max_samples: int | None
    ) -> None:
        self._faces = faces
        self._attackers = attackers
        self._folds = folds
        self._max_samples = max_samples
        self._chosen = torch.from_numpy(choose_faces(faces.subjects, faces.attributes, max_samples, folds))
        subject_folds(faces.subjects[self._chosen], faces.attributes[self._chosen], folds)
        self._unprotected: _Latest[object, FoldAttack] = _Latest()
        self._visitors: _Latest[object, Attackers] = _Latest()

    def adaptive(self, templates: Tensor, on_progress: Progress) -> AttackResult:
        """Attackers learn from the same kind of templates, of other people."""
        return self._train(templates, self._attackers, on_progress).test(templates)

    def naive(self, templates: Tensor, unprotected: Tensor, owner: object, on_progress: Progress) -> float:
        """Mean of the standard attackers that learn from other people's templates before protection.

        Args:
            templates: Protected.
            unprotected: The same before; if their length differs, the result is NaN.
            owner: As long as it is the same, the attackers are trained once.
            on_progress: Told which attacker is being trained.
        """
        if templates.shape != unprotected.shape:
            return math.nan
        attackers = self._unprotected.get(owner, lambda: self._train(unprotected, STANDARD, on_progress))
        return mean_of_standard(attackers.test(templates).balanced_accuracies)

    def visitors(self, templates: Tensor, owner: object, on_progress: Progress) -> Attackers:
        """The standard attackers, trained on all people, to attack other sets; for arguments see `naive`."""
        return self._visitors.get(
            owner,
            lambda: Attackers(
                templates[self._chosen].numpy(), self._faces.attributes[self._chosen], STANDARD, on_progress
            ),
        )

    def cross(self, templates: Tensor, visitors: Attackers) -> float:
        """Mean of the standard attackers that learnt from another set; NaN if the length of its templates differs."""
        if visitors.dimensions != templates.shape[1]:
            return math.nan
        return mean_of_standard(
            attack_transfer(visitors, templates[self._chosen], self._faces.attributes[self._chosen])
        )

    def _train(self, templates: Tensor, attackers: Sequence[AttackerName], on_progress: Progress) -> FoldAttack:
        return FoldAttack(
            templates,
            self._faces.subjects,
            self._faces.attributes,
            attackers=attackers,
            folds=self._folds,
            max_samples=self._max_samples,
            on_progress=on_progress,
        )


class _Latest(Generic[Key, Value]):
    """Something costly, kept as long as it is asked for with the same object, which it does not keep alive."""

    def __init__(self) -> None:
        self._kept: tuple[weakref.ref[Key], Value] | None = None

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        if self._kept is None or self._kept[0]() is not key:
            self._kept = (weakref.ref(key), make())
        return self._kept[1]

    def __reduce__(self) -> tuple[type[_Latest], tuple[()]]:
        # A process that is handed a benchmark starts without it.
        return _Latest, ()
