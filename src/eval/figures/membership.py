"""How near synthetic faces come to people who were trained on, and to others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.eval.figures.canvas import PALETTE, SIZE, Figure, canvas, legend_below
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
    with canvas(figure, (SIZE[0], max(SIZE[1], 1.2 + 1.5 * len(shown)))) as drawing:
        panels = drawing.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
        for axes, (row, nearest, _) in zip(panels, shown, strict=True):
            edges = np.array(nearest.edges)
            kinds = {"people trained on": nearest.genuine, "people held out": nearest.impostor}
            for (label, counts), color in zip(kinds.items(), PALETTE, strict=False):
                density = np.array(counts) / np.diff(edges) / max(sum(counts), 1)
                axes.stairs(density, edges, fill=True, alpha=0.65, color=color, label=label)
            if nearest.threshold is not None:
                axes.axvline(nearest.threshold, color="black", linestyle="--", linewidth=1.5, label="breach")
            axes.set(ylabel="density", title=f"{benchmark}: {row.label}")
        panels[-1].set(xlabel="similarity")
        legend_below(drawing, panels[-1])
    return figure
