"""What a thief of codes learns of faces: embeddings are rebuilt from codes and tried out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from src.eval.operating_points import exponent
from src.eval.protection.decoders import gradient_decode, linear_decode, records_decode
from src.eval.protection.faces import CodedFaces, ImagePairs
from src.eval.protection.keys import fresh_projection, identifiers
from src.eval.protection.operating import FAR, OperatingScores, operating_scores
from src.eval.protection.scores import match
from src.ops.hashing import RankHash

__all__ = ["InversionSettings", "inversion_metric_names", "invert"]

_ATTACKS = ("linear", "gradient")
_AT_FAR = exponent(FAR)


@dataclass(frozen=True)
class InversionSettings:
    """How codes are inverted.

    Attributes:
        count: At most so many people are attacked, by the first image of each.
        records: Numbers K of codes of a face that are attacked together.
        seed: Of projections and identifiers.
    """

    count: int
    records: Sequence[int]
    seed: int


def inversion_metric_names(records: Sequence[int]) -> tuple[str, ...]:
    """Names of the metrics that `invert` gives."""
    kinds = ("accepted", "accepted_fresh", "genuine_fresh")
    accepted = (f"{kind}@{rate}" for kind in kinds for rate in ("eer", _AT_FAR))
    return (
        *(f"{attack}_{metric}" for attack in _ATTACKS for metric in ("cos", "match", "match_fresh")),
        *accepted,
        *(f"records_cos@{number}" for number in records),
        "templates_cos",
        "typical_cos",
    )


def invert(
    faces: CodedFaces,
    plain: OperatingScores,
    mated: ImagePairs,
    non_mated: ImagePairs,
    settings: InversionSettings,
) -> dict[str, float]:
    """Rebuild embeddings from codes, knowing the projection, and hash them again.

    Args:
        faces: Enrolled.
        plain: Scores of their codes.
        mated: Images of one person, to set the thresholds of a system with a fresh projection by.
        non_mated: Images of different people, likewise.
        settings: Who is attacked, and how.

    Returns:
        By attack, ``cos`` to the true embedding, ``match`` of the codes, and ``match_fresh`` of codes by a projection
        that the attacker did not see. Of the gradient attack ``accepted``: share of rebuilt faces that pass for the
        template they were made of, and ``accepted_fresh``: for another image of the person in a system with another
        projection, at the threshold of the equal error rate and of a false accept rate of 0.001; ``genuine_fresh``:
        share of true images that pass there. ``records_cos``: of linear attacks on K codes by random projections.
        ``templates_cos``: mean absolute cosine where the attacker has templates only. ``typical_cos``: mean cosine of a
        face and the mean face of all others, which needs no theft.
    """
    images = torch.from_numpy(faces.first_images[: settings.count])
    codes, truth = torch.from_numpy(faces.codes)[images], faces.embeddings[images]
    norm = float(faces.embeddings.norm(dim=1).median())
    rebuilt = {
        "linear": linear_decode(codes, faces.rank_hash),
        "gradient": gradient_decode(codes, faces.rank_hash, norm),
    }
    fresh = fresh_projection(faces.rank_hash, settings.seed)
    metrics: dict[str, float] = {}
    for attack, guess in rebuilt.items():
        metrics |= {
            f"{attack}_cos": _cosine(guess, truth),
            f"{attack}_match": float(_matches(guess * norm, codes, faces.rank_hash).mean()),
            f"{attack}_match_fresh": float(_matches(guess, fresh.codes(truth), fresh).mean()),
        }
    own = _matches(rebuilt["gradient"] * norm, codes, faces.rank_hash)
    everyone = fresh.codes(faces.embeddings)
    elsewhere = _matches(rebuilt["gradient"], everyone[_other_images(faces, images)], fresh)
    metrics |= _accepted("accepted", own, plain)
    system = operating_scores(everyone.numpy(), mated, non_mated)
    metrics |= _accepted("accepted_fresh", elsewhere, system) | _accepted("genuine_fresh", system.genuine, system)
    for number, guess in records_decode(faces, images, settings.records, settings.seed).items():
        metrics[f"records_cos@{number}"] = _cosine(guess, truth)
    templates = torch.from_numpy(faces.codes ^ identifiers(faces, settings.seed))[images]
    blind = linear_decode(templates, faces.rank_hash)
    metrics["templates_cos"] = float(F.cosine_similarity(blind, truth).abs().mean())
    metrics["typical_cos"] = _typical(faces, images)
    return metrics


def _cosine(guess: Tensor, truth: Tensor) -> float:
    return float(F.cosine_similarity(guess, truth).mean())


def _matches(guess: Tensor, codes: Tensor, rank_hash: RankHash) -> NDArray[np.float64]:
    return match(rank_hash.codes(guess).numpy(), codes.numpy())


def _accepted(name: str, scores: NDArray[np.float64], system: OperatingScores) -> dict[str, float]:
    thresholds = {"eer": system.eer, _AT_FAR: system.far}
    return {
        f"{name}@{rate}": math.nan if math.isnan(threshold) else float((scores >= threshold - 1e-9).mean())
        for rate, threshold in thresholds.items()
    }


def _other_images(faces: CodedFaces, images: Tensor) -> Tensor:
    """Another image of the person on each of ``images``, which are the first of people with several."""
    others = [np.flatnonzero(faces.labels == faces.labels[image])[1] for image in images.tolist()]
    return torch.tensor(others)


def _typical(faces: CodedFaces, images: Tensor) -> float:
    """Mean cosine of faces and the mean direction of all images of other people."""
    unit = F.normalize(faces.embeddings)
    labels = torch.from_numpy(faces.labels)
    means = [unit[labels != labels[image]].mean(0) for image in images]
    return _cosine(torch.stack(means), faces.embeddings[images])
