"""Is a template worthless once its identifier was renewed, and as good as before under the new one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.eval.protection.faces import CodedFaces, ImagePairs
from src.eval.protection.keys import identifiers
from src.eval.protection.operating import OperatingScores
from src.eval.protection.scores import match
from src.eval.score import Renewal
from src.eval.unlinkability import Integral, d_sys, null_bias

__all__ = ["RENEWAL_METRICS", "RenewalResult", "renewal"]

RENEWAL_METRICS = ("renewed_gap", "dsys_renewed", "dsys_renewed_chance", "renewed_equal", "renewed_passes")

_MARGIN = 0.01  # that renewed templates may match more than other people's do
_LINK_MARGIN = 0.02  # above chance
_MOST_BINS = 80


@dataclass(frozen=True)
class RenewalResult:
    """What came of it: ``metrics`` named as `RENEWAL_METRICS`, and ``curves``."""

    metrics: dict[str, float]
    curves: Renewal


def renewal(
    faces: CodedFaces,
    plain: OperatingScores,
    mated: ImagePairs,
    non_mated: ImagePairs,
    seed: int,
    bins: int | None = None,
    integral: Integral = "sum",
) -> RenewalResult:
    """Renew every identifier; probe the old templates under the new identifiers, and the new templates.

    A stale template must match its own person no better than other people: ``renewed_gap`` is how much more of its
    symbols match than of an impostor's, ``dsys_renewed`` how well one can tell whose stale template it is. ``passes``
    is 1 if the first is below 0.01 and the second less than 0.02 above chance. The scores of impostors themselves are
    no yardstick for the second: they spread more than chance does, since faces are more or less alike.

    Args:
        faces: All are enrolled.
        plain: Scores of the codes.
        mated: Images of one person, template and probe.
        non_mated: Images of different people.
        seed: Of the identifiers.
        bins: See `src.eval.unlinkability.d_sys`.
        integral: See there.
    """
    old, new = identifiers(faces, seed), identifiers(faces, seed + 1)
    stale, template = faces.codes ^ old, faces.codes ^ old ^ old ^ new
    renewed, others = (_probe(faces.codes, stale, new, pairs) for pairs in (mated, non_mated))
    gap = float(renewed.mean() - plain.impostor.mean())
    linked = d_sys(renewed, others, bins=bins, integral=integral).d_sys
    chance = null_bias(renewed, others, bins=bins, integral=integral)
    edges = _edges(faces.codes.shape[1])
    metrics = {
        "renewed_gap": gap,
        "dsys_renewed": linked,
        "dsys_renewed_chance": chance,
        "renewed_equal": float((_probe(faces.codes, template, new, mated) == plain.genuine).mean()),
        "renewed_passes": float(gap < _MARGIN and linked < chance + _LINK_MARGIN),
    }
    counts = [np.histogram(scores, edges)[0].tolist() for scores in (plain.genuine, plain.impostor, renewed)]
    return RenewalResult(metrics, Renewal(edges.tolist(), *counts))


def _edges(m: int) -> NDArray[np.float64]:
    """Bins of equally many of the m + 1 possible scores, which lie in their middle."""
    width = -(-m // _MOST_BINS)
    return (np.arange(0, m + width + 1, width) - 0.5) / m


def _probe(
    codes: NDArray[np.uint8], templates: NDArray[np.uint8], keys: NDArray[np.uint8], pairs: ImagePairs
) -> NDArray[np.float64]:
    """Scores of second images against first images' templates: template XOR probe against the identifier."""
    return match(templates[pairs.first] ^ codes[pairs.second], keys[pairs.first])
