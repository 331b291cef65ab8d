"""Whether synthetic identities are people: alike within, different between (ArcBiFaceGAN specification, 7.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.collector import check_finite
from src.eval.operating_points import RocCurve, far_operating_points
from src.eval.score import BenchmarkScore, ScoreCurves
from src.eval.score_curves import score_histogram, thin_curve
from src.eval.unit_vectors import l2_normalise
from src.eval.verification import FARS

__all__ = ["IdentityScores", "identity_scores"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_PAIRS = 1 << 14  # compared at once


@dataclass(frozen=True)
class IdentityScores:
    """Similarities of synthetic images.

    Attributes:
        curve: Of genuine comparisons, two images of one identity, and of impostor ones, of two.
    """

    curve: RocCurve

    @property
    def eer_threshold(self) -> float:
        """Similarity from which on as many impostors are accepted as genuine comparisons refused, or just more."""
        corner = int(np.argmax(self.curve.fpr + self.curve.tpr >= 1))
        return float(self.curve.corners[0][corner])

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers by name.

        ``eer``, ``auc`` and the rates at `FARS` are those of `src.eval.verification.verify`. ``fdr`` is Fisher's
        discriminant ratio ``(g - i)^2 / (s^2 + t^2)`` of the means g, i and deviations s, t of the similarities,
        ``decidability`` is ``|g - i| / sqrt((s^2 + t^2) / 2)`` (Daugman 2000).
        """
        genuine, impostor = self.curve.genuine, self.curve.impostor
        difference = float(genuine.mean() - impostor.mean())
        variance = float(genuine.var() + impostor.var())
        rates = [point.metrics for point in far_operating_points(self.curve, FARS)]
        return {
            "eer": self.curve.eer,
            "auc": self.curve.auc,
            **{name: value for point in rates for name, value in point.items()},
            "eer_threshold": self.eer_threshold,
            "genuine_mean": float(genuine.mean()),
            "genuine_std": float(genuine.std()),
            "impostor_mean": float(impostor.mean()),
            "impostor_std": float(impostor.std()),
            "fdr": difference**2 / variance if variance else np.nan,
            "decidability": abs(difference) / (variance / 2) ** 0.5 if variance else np.nan,
        }

    @property
    def score(self) -> BenchmarkScore:
        """Metrics, ROC curve and histogram, as a benchmark has them."""
        return BenchmarkScore(
            self.metrics,
            curves=ScoreCurves(
                roc=thin_curve(self.curve.fpr, self.curve.tpr),
                histogram=score_histogram(self.curve, self.eer_threshold),
            ),
        )


def identity_scores(
    embeddings: Tensor, labels: Tensor, max_impostors: int = 1_000_000, seed: int = 0
) -> IdentityScores:
    """Compare synthetic images of the same and of different identities by the cosine.

    Args:
        embeddings: Floating [N, D], of any scale.
        labels: int64 [N] identities.
        max_impostors: All pairs of different identities are compared, or, of more pairs than this, about as many that
            are drawn at random. All pairs of one identity always are.
        seed: Of the draw.

    Raises:
        UserError: Shapes disagree, embeddings are not finite, or there are no pairs of one kind.
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise UserError(
            f"expected embeddings [N, D] and labels [N], found {list(embeddings.shape)} and {list(labels.shape)}"
        )
    rows, people = embeddings.detach().cpu().double().numpy(), labels.cpu().numpy()
    check_finite(rows, "embeddings")
    unit = l2_normalise(rows)
    genuine = _similarities(unit, *_genuine_pairs(people))
    impostor = _similarities(unit, *_impostor_pairs(people, max_impostors, np.random.default_rng(seed)))
    for kind, scores in (("genuine", genuine), ("impostor", impostor)):
        if not len(scores):
            raise UserError(
                f"labels: {len(people)} images of {len(np.unique(people))} identities make no {kind} pair; "
                "expected two identities or more, one of them with two images or more"
            )
    return IdentityScores(RocCurve(np.sort(genuine), np.sort(impostor)))


def _genuine_pairs(labels: Indices) -> tuple[Indices, Indices]:
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    pairs = [(group[first], group[second]) for group in groups for first, second in [np.triu_indices(len(group), 1)]]
    return np.concatenate([first for first, _ in pairs]), np.concatenate([second for _, second in pairs])


def _impostor_pairs(labels: Indices, limit: int, generator: np.random.Generator) -> tuple[Indices, Indices]:
    count = len(labels)
    if count * (count - 1) // 2 <= limit:
        first, second = np.triu_indices(count, 1)
    else:
        first, second = generator.integers(count, size=(2, limit))
    different = labels[first] != labels[second]
    return first[different], second[different]


def _similarities(unit: Array, first: Indices, second: Indices) -> Array:
    blocks = range(0, len(first), _PAIRS)
    parts = [np.einsum("pd,pd->p", unit[first[i : i + _PAIRS]], unit[second[i : i + _PAIRS]]) for i in blocks]
    return np.concatenate([np.empty(0), *parts])
