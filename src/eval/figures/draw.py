"""All figures that the curves of some results allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from src.eval.figures.canvas import Figure
from src.eval.figures.curves import cmc_figure, det_figure, open_set_figure, roc_figure
from src.eval.figures.membership import nearest_figure
from src.eval.figures.projection import projection_figure
from src.eval.figures.protection import collision_figure, inversion_figure, link_figure, renewal_figure
from src.eval.figures.scores import accuracy_figure, score_figure
from src.eval.figures.tradeoff import tradeoff_figure
from src.eval.results import Results, benchmark_names, safe_name
from src.eval.score import BenchmarkScore

__all__ = ["benchmark_figures", "overview_figures", "privacy_figures"]

_PROTECTION = (
    (link_figure, "linking"),
    (inversion_figure, "inversion"),
    (renewal_figure, "renewal"),
    (collision_figure, "collisions"),
)


def overview_figures(folder: Path, results: Sequence[Results]) -> list[Figure]:
    """Draw what shows several benchmarks at once.

    Args:
        folder: Where the PNG files go.
        results: Rows of the comparison.
    """
    names = [n for n in benchmark_names(results) if any("accuracy" in row.metrics.get(n, {}) for row in results)]
    return [accuracy_figure(folder / "accuracy.png", names, results)] if names else []


def benchmark_figures(folder: Path, benchmark: str, results: Sequence[Results]) -> list[Figure]:
    """Draw the curves of one benchmark, in reading order; what no row has is left out.

    Args:
        folder: Where the PNG files go.
        benchmark: Name of the benchmark.
        results: Rows of the comparison.
    """
    curves = [row.scores[benchmark].curves for row in results if benchmark in row.scores]
    drawings = (
        (roc_figure, "roc", any(curve.roc for curve in curves)),
        (det_figure, "det", any(curve.roc for curve in curves)),
        (cmc_figure, "cmc", any(curve.cmc for curve in curves)),
        (open_set_figure, "open_set", any(curve.open_set for curve in curves)),
        (score_figure, "scores", any(curve.histogram for curve in curves)),
    )
    return [
        draw(folder / f"{name}_{safe_name(benchmark)}.png", benchmark, results)
        for draw, name, possible in drawings
        if possible
    ]


def privacy_figures(folder: Path, benchmark: str, results: Sequence[Results]) -> list[Figure]:
    """Draw what shows the attacks on gender, templates or membership of one benchmark; what no row has is left out.

    Args:
        folder: Where the PNG files go.
        benchmark: Name of the benchmark.
        results: Rows of the comparison.
    """
    scores = [row.scores[benchmark] for row in results if benchmark in row.scores]
    drawings = (
        (tradeoff_figure, "tradeoff", any(_has_point(score) for score in scores)),
        (projection_figure, "projection", any(s.curves.projection is not None for s in scores)),
        (nearest_figure, "membership", any(s.curves.membership is not None for s in scores)),
        *((draw, name, any(s.curves.protection is not None for s in scores)) for draw, name in _PROTECTION),
    )
    return [
        draw(folder / f"{name}_{safe_name(benchmark)}.png", benchmark, results)
        for draw, name, possible in drawings
        if possible
    ]


def _has_point(score: BenchmarkScore) -> bool:
    return not math.isnan(score.metrics.get("eer", math.nan) + score.privacy.get("bacc", math.nan))
