"""One plot of a multirun: the monitored metric of its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from src.eval.figures.canvas import PALETTE, SIZE, Figure, canvas

__all__ = ["sweep_figure"]

_MOST = 40
"""Jobs that are named one below the other; of more the first are drawn."""


def sweep_figure(path: Path, metric: str, jobs: Sequence[tuple[str, Mapping[str, str], float]]) -> Figure:
    """Draw a metric over the swept key where there is one and its values are numbers, and job by job otherwise.

    Args:
        path: PNG file to write.
        metric: Its name.
        jobs: Label, swept keys with their values, and the value of the metric of each job, the best first.
    """
    title = f"{metric} of {len(jobs)} jobs"
    figure = Figure(path, title, f"{title}; the best, {jobs[0][0]}, reaches {jobs[0][2]:.4g}.")
    key, numbers = _numeric_key(jobs)
    shown = jobs[:_MOST]
    labels = [label.replace(" ", "\n") for label, _, _ in shown]
    lines = sum(1 + label.count("\n") for label in labels)
    size = SIZE if key else (SIZE[0], max(2.0, 1.2 + 0.25 * lines))
    path.parent.mkdir(parents=True, exist_ok=True)
    with canvas(figure, size) as drawing:
        axes: Axes = drawing.subplots()
        if key:
            points = sorted(zip(numbers, (value for _, _, value in jobs), strict=True))
            axes.plot(*zip(*points, strict=True), marker="o", color=PALETTE[0])
            axes.plot(numbers[0], jobs[0][2], marker="o", markersize=9, color=PALETTE[1])
            axes.set_xlabel(key)
            axes.set_ylabel(metric)
            if min(numbers) > 0 and max(numbers) >= 20 * min(numbers):
                axes.set_xscale("log")
        else:
            colors = [PALETTE[1], *[PALETTE[0]] * (len(shown) - 1)]
            axes.scatter([value for _, _, value in shown], range(len(shown)), color=colors)
            axes.set_yticks(range(len(shown)), labels)
            axes.invert_yaxis()
            axes.set_xlabel(metric)
    return figure


def _numeric_key(jobs: Sequence[tuple[str, Mapping[str, str], float]]) -> tuple[str, list[float]]:
    """The only swept key and its value in each job; an empty name if there are several, or other values."""
    keys = list(dict.fromkeys(key for _, swept, _ in jobs for key in swept))
    if len(keys) != 1 or keys[0] == "seed":  # seeds have no order
        return "", []
    try:
        return keys[0], [float(swept[keys[0]]) for _, swept, _ in jobs]
    except (KeyError, ValueError):
        return "", []
