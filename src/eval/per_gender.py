"""Verification of women, of men, and of women against men: who bears the errors (gender-angular, section 5.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from src.datamodules.genders import GENDERS
from src.eval.operating_points import RocCurve, Scores, exponent, far_operating_points, roc_curve
from src.eval.verification import VerificationResult

__all__ = ["metric_names", "verify_per_gender"]

Mask = NDArray[np.bool_]

_FARS = (1e-3, 1e-2)
_LEAST = 30


def metric_names() -> tuple[str, ...]:
    """Names of the metrics that `verify_per_gender` gives."""
    rates = [
        (
            *_with_gap("fmr", far, "ratio"),
            f"fmr_cross@{far}",
            f"fmr_cross_ratio@{far}",
            *_with_gap("fnmr", far, "ratio"),
        )
        for far in map(exponent, _FARS)
    ]
    tars = [_with_gap("tar", far) for far in map(exponent, _FARS)]
    return (*sum(rates, ()), *sum(tars, ()), *_with_gap("eer"), *_with_gap("accuracy"))


def verify_per_gender(result: VerificationResult, attributes: NDArray[np.int8]) -> dict[str, float]:
    """Error rates by gender, and how far apart they are.

    A pair is of a gender if both faces are; impostor pairs of a woman and a man are ``cross``. False match and
    non-match rates are those at one threshold for all, at which so many of all impostor pairs pass at most; ``tar``
    and ``eer`` are those at each gender's own threshold; ``accuracy`` is that at the thresholds of the folds.

    Args:
        result: Of all pairs.
        attributes: int8 [P, 2], 0 female, 1 male, -1 unknown, of the faces of each pair.

    Returns:
        By name: rates of each gender, ``gap``, their distance, ``ratio``, the larger to the smaller, and
        ``fmr_cross_ratio``, the false match rate of cross pairs to that of other impostors of known gender. NaN where
        fewer than 30 pairs, or a zero, cannot tell.
    """
    first, second = attributes.T
    groups = [(first == gender) & (second == gender) for gender in range(len(GENDERS))]
    cross = (first != second) & (attributes >= 0).all(axis=1)
    values: dict[str, float] = {}
    for point in far_operating_points(result.roc, _FARS):
        name = exponent(point.far_target)
        # A threshold that is NaN, since the impostors are too few, makes no rate.
        passed = result.scores > point.threshold_strict if not math.isnan(point.threshold_strict) else None
        values |= _pair("fmr", [_share(passed, group & ~result.same) for group in groups], name, ratio=True)
        crossed = _share(passed, cross & ~result.same)
        values[f"fmr_cross@{name}"] = crossed
        values[f"fmr_cross_ratio@{name}"] = _divide(crossed, _share(passed, (groups[0] | groups[1]) & ~result.same))
        rejected = None if passed is None else ~passed
        values |= _pair("fnmr", [_share(rejected, group & result.same) for group in groups], name, ratio=True)
    curves = [_curve(result.scores[group], result.same[group]) for group in groups]
    for far in _FARS:
        tars = [math.nan if c is None else far_operating_points(c, (far,))[0].tar for c in curves]
        values |= _pair("tar", tars, exponent(far))
    values |= _pair("eer", [math.nan if curve is None else curve.eer for curve in curves])
    right = result.folds.accepted == result.same
    return values | _pair("accuracy", [_share(right, group) for group in groups])


def _share(hit: Mask | None, among: Mask) -> float:
    return float(hit[among].mean()) if hit is not None and np.count_nonzero(among) >= _LEAST else math.nan


def _curve(scores: Scores, same: Mask) -> RocCurve | None:
    return roc_curve(scores, same) if min(np.count_nonzero(same), np.count_nonzero(~same)) >= _LEAST else None


def _pair(rate: str, values: Sequence[float], at: str = "", *, ratio: bool = False) -> dict[str, float]:
    """A rate of both genders, their distance and, if wanted, ratio."""
    women, men = values
    rates = [*values, abs(men - women), *([_divide(max(values), min(values))] if ratio else [])]
    return dict(zip(_with_gap(rate, at, *(["ratio"] if ratio else [])), rates, strict=True))


def _with_gap(rate: str, at: str = "", *more: str) -> tuple[str, ...]:
    return tuple(f"{rate}_{part}" + (f"@{at}" if at else "") for part in (*GENDERS, "gap", *more))


def _divide(value: float, by: float) -> float:
    return value / by if by else math.nan
