"""Curves of a training, from ``metrics.csv``."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from src.eval.figures.canvas import Figure, canvas, legend_below
from src.eval.results import safe_name

__all__ = ["training_figures"]

Line = tuple[list[int], list[float]]


def training_figures(folder: Path, metrics_csv: Path) -> list[Figure]:
    """Draw one figure per training metric and one of the accuracy on every benchmark, over optimiser steps.

    Args:
        folder: Where the PNG files go.
        metrics_csv: As Lightning's CSV logger writes it.
    """
    figures = []
    for title, lines in _training_panels(metrics_csv).items():
        ends = [f"{label} from {values[0]:.4g} to {values[-1]:.4g}" for label, (_, values) in lines.items()]
        figure = Figure(
            folder / f"training_{safe_name(title)}.png",
            f"{title} during training",
            f"{title} over steps: {', '.join(ends)}.",
        )
        with canvas(figure, (4.8, 3.4)) as drawing:
            axes = drawing.add_subplot()
            for label, (steps, values) in lines.items():
                axes.plot(steps, values, label=label, marker="o" if len(steps) < 20 else None, markersize=4)
            axes.set(title=title, xlabel="step")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if len(lines) > 1:
                legend_below(drawing, axes)
        figures.append(figure)
    return figures


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
