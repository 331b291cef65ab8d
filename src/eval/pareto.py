"""Which rows are the best compromises of recognition and privacy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.eval.results import Results

__all__ = ["pareto_front"]

_CHANCE = 0.5


def pareto_front(results: Sequence[Results], benchmark: str) -> list[str]:
    """Labels of the rows that no other row beats.

    A row beats another if neither its equal error rate (``eer``) nor the balanced accuracy of gender attackers on
    it (``bacc``) is higher, and one is lower. Attackers below 0.5 count as 0.5: to be wrong more often than a blind
    guess is chance.

    Args:
        results: Rows of the comparison.
        benchmark: One that measures privacy; rows without its numbers are on no front.

    Returns:
        By ascending equal error rate.
    """
    points = {row.label: _point(row, benchmark) for row in results}
    known = {label: point for label, point in points.items() if not any(map(math.isnan, point))}
    front = [label for label, point in known.items() if not any(_beats(other, point) for other in known.values())]
    return sorted(front, key=lambda label: known[label])


def _point(row: Results, benchmark: str) -> tuple[float, float]:
    error = row.metrics.get(benchmark, {}).get("eer", math.nan)
    attack = row.privacy.get(benchmark, {}).get("bacc", math.nan)
    return error, attack if math.isnan(attack) else max(attack, _CHANCE)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]
