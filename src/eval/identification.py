"""Identification: whose face is it, of all in the gallery? Closed set, where it is there, and open set.

A probe is mated if the gallery holds an entry of its identity, its mate; searches of others should end with no match.
Matrices of similarities are [S, G], one row per probe and one column per gallery entry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.eval.gallery_search import Fusion, Identities, Matrix, Searches, blocks, gallery_places, search, to_arrays
from src.eval.operating_points import RocCurve, roc_curve

__all__ = [
    "ClosedSetResult",
    "OpenSetResult",
    "closed_set",
    "comparisons",
    "open_set",
    "pooled_tpir",
    "thresholds_at_far",
    "tpir_at_fpir",
    "verification_rates",
]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_MARGIN = math.sqrt(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class ClosedSetResult:
    """Closed-set identification of the mated probes.

    Attributes:
        ranks: int64 [M], one more than the number of identities strictly more similar than the probe's own.
        cmc: float64 [I], share of probes with rank 1, at most 2, ..., at most the number of identities.
        rows: int64 [K], a probe, 0..M - 1, for each pair of a probe and a gallery entry of its identity, ascending.
        places: int64 [K], place of that entry when the whole gallery is sorted by falling similarity, ties in the
            order of the gallery; ascending for each probe.
    """

    ranks: Integers
    cmc: Array
    rows: Integers
    places: Integers

    def average_precision(self, depth: int | None = None) -> Array:
        """Average precision of the gallery sorted by similarity to each probe; float64 [M].

        The sum over the first ``depth`` places j of P(j) (R(j) - R(j - 1)), where the recall R counts all entries of
        the probe's identity, also those further down (DRH protocol, section 7.3 of the method's specification).

        Args:
            depth: How many places count, by default all.
        """
        entries = np.bincount(self.rows, minlength=len(self.ranks))
        first = np.cumsum(entries) - entries
        number = np.arange(len(self.rows)) - first[self.rows] + 1  # of the entry among those of its identity
        counted = True if depth is None else self.places <= depth
        return np.bincount(self.rows, number / self.places * counted, len(self.ranks)) / entries


def closed_set(
    similarity: Matrix, probe_ids: Identities, gallery_ids: Identities, fusion: Fusion = "max"
) -> ClosedSetResult:
    """Identify probes whose identity is known to be in the gallery; others are left out.

    Args:
        similarity: float [S, G], finite.
        probe_ids: [S] identities.
        gallery_ids: [G] identities.
        fusion: How similarities to several entries of an identity become one for the ranks and the CMC.

    Returns:
        Ranks, cumulative match characteristic and average precisions.

    Raises:
        UserError: Shapes disagree, or no probe is mated.
    """
    scores, probes, gallery = to_arrays(similarity, probe_ids, gallery_ids)
    searches = search(scores, probes, gallery, fusion)
    cmc = searches.cmc()
    probe, entry = np.nonzero(probes[:, None] == gallery)
    places = gallery_places(scores, probe, entry)
    rows = (np.cumsum(searches.mated) - 1)[probe]
    order = np.lexsort((places, rows))
    return ClosedSetResult(searches.rank[searches.mated], cmc, rows[order], places[order])


@dataclass(frozen=True)
class OpenSetResult:
    """Open-set identification at F false alarm rates.

    Attributes:
        searches: What the rates are made of.
        far_thresholds: float64 [F], similarity from which on the detection and identification rate accepts.
        dir: float64 [F, R], detection and identification rate at each of R ranks.
        fpir_thresholds: float64 [F], similarity strictly above which the identification rate accepts.
        tpir: float64 [F], true positive identification rate.
    """

    searches: Searches
    far_thresholds: Array
    dir: Array
    fpir_thresholds: Array
    tpir: Array


def open_set(
    similarity: Matrix,
    probe_ids: Identities,
    gallery_ids: Identities,
    rates: Sequence[float] = (1e-2, 1e-1),
    ranks: Sequence[int] = (1,),
) -> OpenSetResult:
    """Identify probes of which some are of people who are not in the gallery.

    Two definitions of the same idea. DIR at FAR (Liao et al. 2014, "A benchmark study of large-scale unconstrained face
    recognition"; section 7.3 of the DRH specification): the best mate reaches the threshold of `thresholds_at_far` on
    the highest similarities of the non-mated probes, and its place in the whole gallery is at most the rank. TPIR at
    FPIR: see `tpir_at_fpir`.

    Args:
        similarity: float [S, G], finite.
        probe_ids: [S] identities.
        gallery_ids: [G] identities; several entries of one count by their highest similarity.
        rates: [F] shares of the searches of non-mated probes that may end with a match.
        ranks: [R] for DIR.

    Returns:
        Both rates with their thresholds.

    Raises:
        UserError: Shapes disagree, all probes are mated, or none is.
    """
    scores, probes, gallery = to_arrays(similarity, probe_ids, gallery_ids)
    searches = search(scores, probes, gallery)
    fpir_thresholds, tpir = tpir_at_fpir(searches.open_set, rates)
    mated = np.flatnonzero(searches.mated)
    mate = searches.mate[mated]
    best = np.where(probes[mated, None] == gallery, scores[mated], -np.inf).argmax(axis=1)
    places = gallery_places(scores, mated, best)
    far_thresholds = thresholds_at_far(RocCurve(np.sort(mate), searches.open_set.impostor), rates)
    detected = mate >= far_thresholds[:, None]
    dir_at_rank = [(detected & (places <= rank)).mean(axis=1) for rank in ranks]
    return OpenSetResult(searches, far_thresholds, np.stack(dir_at_rank, axis=1), fpir_thresholds, tpir)


def tpir_at_fpir(curve: RocCurve, fpirs: Iterable[float]) -> tuple[Array, Array]:
    """True positive identification rate at false positive identification rates.

    The share of mated searches whose mate is more similar than all others and lies strictly above the threshold: the
    max(int(n f), 1)-th highest of the similarities that the n searches of non-mated probes end with (Grother and Ngan
    2014, NIST IR 8009; as the evaluation scripts of IJB compute it). Below f = 1 / n it is that of 1 / n.

    Args:
        curve: `Searches.open_set`.
        fpirs: F rates f.

    Returns:
        Thresholds [F] and rates [F].
    """
    n = len(curve.impostor)
    thresholds = curve.impostor[[n - max(int(n * fpir), 1) for fpir in fpirs]]
    above = len(curve.genuine) - np.searchsorted(curve.genuine, thresholds, side="right")
    return thresholds.astype(np.float64), above / len(curve.genuine)


def thresholds_at_far(curve: RocCurve, fars: Iterable[float]) -> Array:
    """Thresholds of the BLUFR protocol (Liao et al. 2014): scores that reach them are accepted.

    Of N impostor scores the f-th highest, where f is N times the rate, rounded half up. For f = 0 the middle between
    the highest impostor score and the lowest genuine score above it or, if there is none, a hair above; for f = N a
    hair below all scores.

    Args:
        curve: Genuine and impostor scores.
        fars: F false accept rates.

    Returns:
        float64 [F].
    """
    genuine, impostor = curve.genuine, curve.impostor
    top = float(impostor[-1])
    above = genuine[np.searchsorted(genuine, top, side="right") :]
    thresholds = []
    for far in fars:
        false_accepts = math.floor(far * len(impostor) + 0.5)
        if false_accepts == 0:
            thresholds.append((top + float(above[0])) / 2 if len(above) else top + _MARGIN)
        elif false_accepts < len(impostor):
            thresholds.append(float(impostor[-false_accepts]))
        else:
            thresholds.append(min(float(genuine[0]), float(impostor[0])) - _MARGIN)
    return np.array(thresholds)


def verification_rates(curve: RocCurve, fars: Iterable[float]) -> Array:
    """Share [F] of genuine comparisons that are accepted at the thresholds of `thresholds_at_far`."""
    rejected = np.searchsorted(curve.genuine, thresholds_at_far(curve, fars))
    return (len(curve.genuine) - rejected) / len(curve.genuine)


def comparisons(similarity: Matrix, probe_ids: Identities, gallery_ids: Identities) -> RocCurve:
    """All comparisons of a probe [S] with a gallery entry [G] as a verification task.

    Raises:
        UserError: Shapes disagree, or there are no genuine or no impostor comparisons.
    """
    scores, probes, gallery = to_arrays(similarity, probe_ids, gallery_ids)
    return roc_curve(scores.ravel(), (probes[:, None] == gallery).ravel())


def pooled_tpir(
    similarity: Matrix, probe_ids: Identities, gallery_ids: Identities, rates: Sequence[float]
) -> tuple[Array, Array]:
    """Numbers that older IJB scripts print as TPIR at FPIR, for comparison with papers that quote them.

    They are not that: the threshold is the ceil(S f)-th highest of all non-mated similarities, of which each search
    has many, and the mate need not be the most similar entry.

    Args:
        similarity: float [S, G] of mated probes with both galleries together.
        probe_ids: [S] identities.
        gallery_ids: [G] identities.
        rates: F rates f.

    Returns:
        Thresholds [F] and share of mated probes strictly above them [F].
    """
    scores, probes, gallery = to_arrays(similarity, probe_ids, gallery_ids)
    searches = search(scores, probes, gallery)
    wanted = [math.ceil(len(probes) * rate) for rate in rates]
    highest = np.empty(0, scores.dtype)
    for rows in blocks(*scores.shape):
        others = scores[rows][probes[rows, None] != gallery]
        highest = np.sort(np.concatenate([highest, others]))[-max(wanted) :]
    thresholds = highest[[-count for count in wanted]]
    mates = searches.mate[searches.mated]
    return thresholds.astype(np.float64), (mates > thresholds[:, None]).mean(axis=1)
