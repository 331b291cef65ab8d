"""Whether synthetic faces give away who was trained on: membership inference against people who were not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.errors import UserError
from src.eval.collector import check_finite
from src.eval.embedding_matching import CosineMatcher
from src.eval.operating_points import RocCurve

__all__ = ["Membership", "membership", "nearest_similarities"]

Scores = NDArray[np.float32]

_QUERIES = 1 << 10  # compared at once


@dataclass(frozen=True)
class Membership:
    """How near synthetic faces come to people who were trained on, and to strangers.

    Attributes:
        nearest_training: float32 [N] similarity of every synthetic image to the nearest row of the training people.
        compared_training: float32 [N], the same, to as many rows as there are of the smaller population.
        compared_held_out: float32 [N], to as many rows of people who were not trained on.
        attack: The attacker's scores: of every real row, its similarity to the nearest synthetic image; genuine are
            those of training people.
        threshold: Similarity from which on two images count as one person.
    """

    nearest_training: Scores
    compared_training: Scores
    compared_held_out: Scores
    attack: RocCurve
    threshold: float

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers by name.

        ``breached`` share of the synthetic images that reach the threshold with anyone of the training people;
        ``nearest_training`` and ``nearest_training_max`` mean and largest similarity to them; ``nearest_gap`` how much
        nearer they come to training people than to as many strangers, on average; ``membership_auc`` area under the
        attacker's curve, 0.5 if members cannot be told; ``membership_advantage`` the attacker's largest true minus
        false positive rate (Yeom et al. 2018, definition 4), 0 if they cannot.
        """
        return {
            "breached": float((self.nearest_training >= self.threshold).mean()),
            "nearest_training": float(self.nearest_training.mean()),
            "nearest_training_max": float(self.nearest_training.max()),
            "nearest_gap": float(self.compared_training.mean() - self.compared_held_out.mean()),
            "membership_auc": self.attack.auc,
            "membership_advantage": float((self.attack.tpr - self.attack.fpr).max()),
        }


def membership(synthetic: Tensor, training: Tensor, held_out: Tensor, threshold: float, seed: int = 0) -> Membership:
    """Compare synthetic faces with people who were trained on and with others of the same kind.

    Args:
        synthetic: Floating [N, D] embeddings of synthetic images.
        training: Floating [T, D] embeddings of those trained on, one row for each person or each image.
        held_out: Floating [H, D] embeddings of people who were not trained on, from the same source and of as many
            images for each, so that they differ in nothing else.
        threshold: Similarity from which on two images count as one person, such as that of a low false accept rate.
        seed: Of the choice of rows where the populations differ in size.

    Raises:
        UserError: One of them is empty, lengths disagree, or values are not finite.
    """
    populations = {"synthetic": synthetic, "training": training, "held_out": held_out}
    shapes = {name: list(rows.shape) for name, rows in populations.items()}
    if any(len(shape) != 2 or not shape[0] for shape in shapes.values()) or len({s[-1] for s in shapes.values()}) > 1:
        raise UserError(f"expected embeddings [N, D] of the same D, one or more of each population, found {shapes}")
    for name, rows in populations.items():
        check_finite(rows.detach().cpu().numpy(), name)
    count, random = min(len(training), len(held_out)), np.random.default_rng(seed)
    return Membership(
        nearest_training=nearest_similarities(synthetic, training),
        compared_training=nearest_similarities(synthetic, _chosen(training, count, random)),
        compared_held_out=nearest_similarities(synthetic, _chosen(held_out, count, random)),
        attack=RocCurve(*(np.sort(nearest_similarities(rows, synthetic)) for rows in (training, held_out))),
        threshold=threshold,
    )


def nearest_similarities(queries: Tensor, references: Tensor) -> Scores:
    """Largest cosine, float32 [N], of every one of ``queries`` [N, D] to ``references`` [M, D]."""
    search = CosineMatcher().enrol(references.detach().cpu().double())
    return np.concatenate([search(block).max(axis=1) for block in queries.detach().cpu().double().split(_QUERIES)])


def _chosen(rows: Tensor, count: int, random: np.random.Generator) -> Tensor:
    return rows[torch.from_numpy(random.choice(len(rows), count, replace=False)).to(rows.device)]
