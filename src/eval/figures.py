"""Figures of an evaluation as PNG files: ROC curves, score histograms, comparison of runs, training curves."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.eval.results import Results
from src.files import atomic_write

__all__ = [
    "PALETTE",
    "Figure",
    "accuracy_figure",
    "draw_figures",
    "roc_figure",
    "score_figure",
    "training_figures",
]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Distinguishable with any kind of colour vision (Okabe and Ito 2008)."""

_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "grid.color": "#e4e4e4",
    "lines.linewidth": 2,
    "legend.frameon": False,
    "figure.dpi": 150,
}
_SIZE = (6.4, 4.4)  # inches
_SMALL = (4.8, 3.4)


@dataclass(frozen=True)
class Figure:
    """A picture for the report.

    Attributes:
        path: PNG or JPEG file.
        title: Shown below it.
        alt: What it shows, for those who cannot see it.
    """

    path: Path
    title: str
    alt: str


def draw_figures(folder: Path, results: Sequence[Results]) -> list[Figure]:
    """Draw what the scores of an evaluation allow.

    Args:
        folder: Where the PNG files go.
        results: Rows of the comparison; histograms show the last one.

    Returns:
        The figures, in reading order.
    """
    final = results[-1]
    figures = []
    for name, score in final.scores.items():
        if score.curves is not None:
            figures.append(roc_figure(folder / f"roc_{name}.png", name, results))
            figures.append(score_figure(folder / f"scores_{name}.png", name, final))
    if any("accuracy" in metrics for metrics in final.metrics.values()):
        figures.append(accuracy_figure(folder / "accuracy.png", results))
    return figures


def accuracy_figure(path: Path, results: Sequence[Results]) -> Figure:
    """Accuracy ± deviation over the folds, one row per benchmark and one colour per run."""
    names = [name for name, metrics in results[-1].metrics.items() if "accuracy" in metrics]
    height = 1.6 + 0.34 * len(names) * max(2, len(results))
    with _canvas(path, (_SIZE[0], max(height, 2.6))) as canvas:
        axes = canvas.add_subplot()
        for i, row in enumerate(results):
            shown = [(j, row.metrics[name]) for j, name in enumerate(names) if name in row.metrics]
            axes.errorbar(
                [metrics["accuracy"] for _, metrics in shown],
                [j + 0.5 * ((i + 0.5) / len(results) - 0.5) for j, _ in shown],
                xerr=[metrics.get("accuracy_std", 0.0) for _, metrics in shown],
                fmt="o",
                markersize=8,
                capsize=4,
                label=row.label,
            )
        axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        axes.set(xlabel="verification accuracy ± deviation over the folds", title="Accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y", visible=False)
        _legend_below(canvas, axes)
    numbers = [
        f"{row.label} {name} {100 * row.metrics[name]['accuracy']:.2f} %"
        for row in results
        for name in names
        if name in row.metrics
    ]
    return Figure(path, "Verification accuracy", f"Verification accuracy: {', '.join(numbers)}.")


def roc_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """True accept rate over false accept rate on a logarithmic axis, one line per run whose curves are at hand."""
    lines = [(row.label, row.scores[benchmark].curves) for row in results if benchmark in row.scores]
    curves = [(label, curve) for label, curve in lines if curve is not None]
    lowest = 1 / max(np.count_nonzero(~curve.same) for _, curve in curves)
    with _canvas(path, _SIZE) as canvas:
        axes = canvas.add_subplot()
        for label, curve in curves:
            # A rate of zero has no place on a logarithmic axis: it is drawn at its left end.
            axes.plot(np.maximum(curve.fpr, lowest), curve.tpr, label=f"{label} (AUC {curve.auc:.4f})")
        chance = np.geomspace(lowest, 1, 200)
        axes.plot(chance, chance, color="#767676", linestyle=":", linewidth=1.5, label="chance")
        axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.01))
        axes.set(xlabel="false accept rate", ylabel="true accept rate", title=f"{benchmark}: ROC")
        _legend_below(canvas, axes)
    areas = ", ".join(f"{label} {curve.auc:.4f}" for label, curve in curves)
    return Figure(path, f"ROC on {benchmark}", f"ROC curves on {benchmark}. Area under the curve: {areas}.")


def score_figure(path: Path, benchmark: str, results: Results) -> Figure:
    """Histograms of the similarities of genuine and of impostor pairs, with the threshold."""
    score = results.scores[benchmark]
    assert score.curves is not None, "figures are drawn where the scores are at hand"
    scores, same = score.curves.scores, score.curves.same
    threshold = 1 - score.metrics["threshold"] / 2  # from squared distance to cosine
    edges = np.linspace(scores.min(), scores.max(), 61).tolist()
    with _canvas(path, _SIZE) as canvas:
        axes = canvas.add_subplot()
        axes.hist(scores[~same], edges, density=True, alpha=0.65, color=PALETTE[1], label="different people")
        axes.hist(scores[same], edges, density=True, alpha=0.65, color=PALETTE[0], label="same person")
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1.5, label=f"threshold {threshold:.2f}")
        axes.set(xlabel="cosine similarity", ylabel="density", title=f"{benchmark}: scores ({results.label})")
        _legend_below(canvas, axes)
    alt = (
        f"Histograms of cosine similarity on {benchmark}. Same person: mean {scores[same].mean():.2f}, "
        f"different people: mean {scores[~same].mean():.2f}, threshold {threshold:.2f}."
    )
    return Figure(path, f"Scores on {benchmark}", alt)


def training_figures(folder: Path, metrics_csv: Path) -> list[Figure]:
    """Draw one figure per training metric and one of the accuracy on every benchmark, over optimiser steps.

    Args:
        folder: Where the PNG files go.
        metrics_csv: As Lightning's CSV logger writes it.
    """
    figures = []
    for title, lines in _training_panels(metrics_csv).items():
        path = folder / f"training_{title.replace(' ', '_')}.png"
        with _canvas(path, _SMALL) as canvas:
            axes = canvas.add_subplot()
            for label, (steps, values) in lines.items():
                axes.plot(steps, values, label=label, marker="o" if len(steps) < 20 else None, markersize=4)
            axes.set(title=title, xlabel="step")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if len(lines) > 1:
                _legend_below(canvas, axes)
        ends = [f"{label} from {values[0]:.4g} to {values[-1]:.4g}" for label, (_, values) in lines.items()]
        figures.append(Figure(path, f"{title} during training", f"{title} over steps: {', '.join(ends)}."))
    return figures


Line = tuple[list[int], list[float]]


def _training_panels(metrics_csv: Path) -> dict[str, dict[str, Line]]:
    """Lines by label by panel: (steps, values) of `train/...`, learning rates and `val/BENCHMARK/accuracy`."""
    columns: dict[str, Line] = defaultdict(lambda: ([], []))
    with open(metrics_csv, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and name not in ("step", "epoch"):
                    columns[name][0].append(int(row["step"]))
                    columns[name][1].append(float(text))
    panels: dict[str, dict[str, Line]] = {}
    for name, line in columns.items():
        if name.startswith("train/") and not name.endswith("_epoch"):
            title = name.removeprefix("train/").removesuffix("_step").replace("_", " ")
            panels[title] = {"training": line}
    accuracy = {name.split("/")[1]: line for name, line in columns.items() if name.endswith("/accuracy")}
    rates = {name.removeprefix("lr-"): line for name, line in columns.items() if name.startswith("lr-")}
    panels = {"benchmark accuracy": accuracy} | panels | {"learning rate": rates}
    return {title: lines for title, lines in panels.items() if lines}


def _legend_below(canvas: Canvas, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), fontsize=11)


@contextmanager
def _canvas(path: Path, size: tuple[float, float]) -> Iterator[Canvas]:
    """A canvas in the house style, written to ``path`` at the end. It needs no display and no global state."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(size, layout="constrained")
        yield canvas
        with atomic_write(path) as file:
            canvas.savefig(file, format="png")
