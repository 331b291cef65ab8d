"""How near synthetic faces come to people who were trained on, and to others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src.eval.figures.canvas import Figure
from src.eval.figures.scores import draw_histograms
from src.eval.results import Results

__all__ = ["nearest_figure"]


def nearest_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Similarities of synthetic images to the nearest real person of both kinds, one panel for each row that has them.

    Args:
        path: PNG file.
        benchmark: Name of the benchmark.
        results: Rows of the comparison.
    """
    found = [(row, row.scores[benchmark]) for row in results if benchmark in row.scores]
    rows = [(row, score.curves.membership, score.privacy) for row, score in found]
    shown = [(row, nearest, privacy) for row, nearest, privacy in rows if nearest is not None]
    told = [
        f"{row.label}: breached {100 * privacy['breached']:.2f} %, attacker's AUC {privacy['membership_auc']:.3f}."
        for row, _, privacy in shown
    ]
    figure = Figure(
        path,
        f"{benchmark}: similarity of synthetic images to the nearest real person",
        f"Histograms of similarity to the nearest person trained on and to the nearest held out. {' '.join(told)}",
    )
    histograms = [(row, nearest) for row, nearest, _ in shown]
    draw_histograms(
        figure, benchmark, histograms, genuine="people trained on", impostor="people held out", threshold="breach"
    )
    return figure
