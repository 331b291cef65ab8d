"""How much work it is to be accepted without anyone's template: by random codes, or by other people's faces."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln, logsumexp

from src.eval.protection.faces import CodedFaces
from src.eval.protection.operating import OperatingScores

__all__ = ["GUESSING_METRICS", "degrees_of_freedom", "guess_bits", "guessing", "symbol_entropy"]

GUESSING_METRICS = (
    *("threshold_eer", "threshold_far", "symbol_entropy", "freedom"),
    *("guess_bits", "guess_bits_entropy", "guess_bits_freedom", "false_accept_bits", "false_accept_bits_eer"),
)


def guess_bits(m: int, p: float, threshold: float) -> float:
    """-log2 of the probability that a share of ``threshold`` or more of m symbols match, each with probability p.

    Args:
        m: Number of independent symbols.
        p: In 0..1, both excluded.
        threshold: Share of the symbols that must match.
    """
    matches = np.arange(max(0, math.ceil(threshold * m - 1e-9)), m + 1)
    if not len(matches):
        return math.inf
    ways = gammaln(m + 1) - gammaln(matches + 1) - gammaln(m - matches + 1)
    return float(-logsumexp(ways + matches * math.log(p) + (m - matches) * math.log1p(-p)) / math.log(2))


def symbol_entropy(codes: NDArray[np.uint8], q: int) -> float:
    """Entropy of a symbol in bits, mean over the positions, corrected for few samples (Miller and Madow 1955).

    Args:
        codes: uint8 [n, m] of different people.
        q: Alphabet size.
    """
    n, m = codes.shape
    counts = np.bincount((np.arange(m) * q + codes).ravel(), minlength=m * q).reshape(m, q)
    shares = counts / n
    plain = -np.sum(shares * np.log(shares, out=np.zeros_like(shares), where=counts > 0), axis=1)
    corrected = plain + (np.count_nonzero(counts, axis=1) - 1) / (2 * n)
    return min(float(corrected.mean()), math.log(q)) / math.log(2)


def degrees_of_freedom(scores: NDArray[np.float64]) -> float:
    """Number of independent symbols whose matches would spread as the scores do (Daugman 2003); NaN if none spread."""
    mean, variance = float(scores.mean()), float(scores.var())
    return math.nan if variance == 0 else mean * (1 - mean) / variance


def guessing(faces: CodedFaces, plain: OperatingScores) -> dict[str, float]:
    """Effort of an attacker without any template.

    Args:
        faces: Enrolled.
        plain: Scores of their codes.

    Returns:
        The metrics `GUESSING_METRICS`. Thresholds are those of equal error rates and of a false accept rate of 0.001.
        Bits are log2 of the mean number of random codes until one is accepted at the latter: if symbols are uniform and
        independent; if they have the measured entropy; and if they hang together as impostor scores tell. The last two
        are log2 of the number of other people's faces until one is accepted, which takes 1 / FAR of them.
        NaN where there are too few scores to tell.
    """
    m, threshold = faces.codes.shape[1], plain.far
    people = np.unique(faces.labels, return_index=True)[1]
    entropy = symbol_entropy(faces.codes[people], faces.q)
    freedom = degrees_of_freedom(plain.impostor)
    reachable = threshold <= 1  # not where it is unknown, or nobody is accepted
    return {
        "threshold_eer": plain.eer,
        "threshold_far": threshold,
        "symbol_entropy": entropy,
        "freedom": freedom,
        "guess_bits": guess_bits(m, 1 / faces.q, threshold) if reachable else math.nan,
        "guess_bits_entropy": guess_bits(m, 2**-entropy, threshold) if reachable and entropy > 0 else math.nan,
        "guess_bits_freedom": _freedom_bits(freedom, float(plain.impostor.mean()), threshold),
        "false_accept_bits": _effort(plain.false_accepts),
        "false_accept_bits_eer": _effort(plain.false_accepts_eer),
    }


def _freedom_bits(freedom: float, p: float, threshold: float) -> float:
    """As `guess_bits`, of a number of symbols that need not be whole."""
    matches = threshold * freedom
    if math.isnan(matches) or not 0 < matches <= freedom:
        return math.nan
    probability = betainc(matches, freedom - matches + 1, p)
    return -math.log2(probability) if probability > 0 else math.nan


def _effort(false_accepts: float) -> float:
    return -math.log2(false_accepts) if false_accepts > 0 else math.nan
