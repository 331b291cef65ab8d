"""What lies under the rates: the similarities themselves, and the accuracy of every fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.eval.figures.canvas import PALETTE, SIZE, Figure, canvas, legend_below
from src.eval.results import Results
from src.eval.score import ScoreHistogram

__all__ = ["accuracy_figure", "draw_histograms", "score_figure"]


def accuracy_figure(path: Path, benchmarks: Sequence[str], results: Sequence[Results]) -> Figure:
    """Accuracy ± deviation over the folds and each fold as a small dot, one colour for each row.

    Args:
        path: PNG file.
        benchmarks: Those with an accuracy, one group each.
        results: Rows of the comparison.
    """
    shown = [
        [(j, row.scores[name]) for j, name in enumerate(benchmarks) if _has_accuracy(row, name)] for row in results
    ]
    numbers = [
        f"{row.label} {benchmarks[j]} {100 * score.metrics['accuracy']:.2f} %"
        for row, scores in zip(results, shown, strict=True)
        for j, score in scores
    ]
    title = "Verification accuracy: mean ± deviation over the folds, and every fold"
    figure = Figure(path, title, f"Verification accuracy: {', '.join(numbers)}.")
    height = 1.6 + 0.34 * len(benchmarks) * max(2, len(results))
    with canvas(figure, (SIZE[0], max(height, 2.6))) as drawing:
        axes = drawing.add_subplot()
        for i, (row, scores) in enumerate(zip(results, shown, strict=True)):
            color = PALETTE[i % len(PALETTE)]
            heights = [j + 0.6 * ((i + 0.5) / len(results) - 0.5) for j, _ in scores]
            for height, (_, score) in zip(heights, scores, strict=True):
                folds = score.curves.fold_accuracies
                axes.plot(folds, [height] * len(folds), "o", color=color, markersize=5, alpha=0.35, linewidth=0)
            axes.errorbar(
                [score.metrics["accuracy"] for _, score in scores],
                heights,
                xerr=[score.metrics.get("accuracy_std", 0.0) for _, score in scores],
                fmt="D",
                color=color,
                markersize=6,
                capsize=4,
                label=row.label,
            )
        axes.set(yticks=range(len(benchmarks)), yticklabels=benchmarks, ylim=(len(benchmarks) - 0.5, -0.5))
        axes.set(xlabel="verification accuracy", title="Accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", visible=False)
        legend_below(drawing, axes)
    return figure


def score_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Histograms of genuine and impostor similarities, one panel for each row that has them."""
    pairs = [(row, row.scores[benchmark].curves.histogram) for row in results if benchmark in row.scores]
    rows = [(row, histogram) for row, histogram in pairs if histogram is not None]
    figure = Figure(
        path,
        f"{benchmark}: similarities of the same and of different people",
        f"Histograms of similarity on {benchmark}. {' '.join(_tell(row, histogram) for row, histogram in rows)}",
    )
    draw_histograms(figure, benchmark, rows, genuine="same person", impostor="different people", threshold="threshold")
    return figure


def draw_histograms(
    figure: Figure,
    benchmark: str,
    rows: Sequence[tuple[Results, ScoreHistogram]],
    *,
    genuine: str,
    impostor: str,
    threshold: str,
) -> None:
    """Write a figure of two histograms of similarities, one panel for each row.

    Args:
        figure: Its path is written.
        benchmark: Name of the benchmark.
        rows: Rows of the comparison, each with its histograms.
        genuine: What ``ScoreHistogram.genuine`` is called.
        impostor: What ``ScoreHistogram.impostor`` is called.
        threshold: What the threshold is called.
    """
    with canvas(figure, (SIZE[0], max(SIZE[1], 1.2 + 1.5 * len(rows)))) as drawing:
        panels = drawing.subplots(len(rows), sharex=True, squeeze=False)[:, 0]
        for axes, (row, histogram) in zip(panels, rows, strict=True):
            edges = np.array(histogram.edges)
            for label, counts, color in (
                (impostor, histogram.impostor, PALETTE[1]),
                (genuine, histogram.genuine, PALETTE[0]),
            ):
                density = np.array(counts) / np.diff(edges) / max(sum(counts), 1)
                axes.stairs(density, edges, fill=True, alpha=0.65, color=color, label=label)
            if histogram.threshold is not None:
                axes.axvline(histogram.threshold, color="black", linestyle="--", linewidth=1.5, label=threshold)
            axes.set(ylabel="density", title=f"{benchmark}: {row.label}")
        panels[-1].set(xlabel="similarity")
        legend_below(drawing, panels[-1])


def _has_accuracy(row: Results, benchmark: str) -> bool:
    return not math.isnan(row.metrics.get(benchmark, {}).get("accuracy", math.nan))


def _tell(row: Results, histogram: ScoreHistogram) -> str:
    middle = np.convolve(histogram.edges, (0.5, 0.5), "valid")
    genuine, impostor = (
        np.dot(middle, counts) / max(sum(counts), 1) for counts in (histogram.genuine, histogram.impostor)
    )
    threshold = "" if histogram.threshold is None else f", threshold {histogram.threshold:.2f}"
    return f"{row.label}: same person mean {genuine:.2f}, different people mean {impostor:.2f}{threshold}."
