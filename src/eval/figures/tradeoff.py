"""Recognition against privacy: one point for each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.eval.figures.canvas import PALETTE, SIZE, Figure, canvas, legend_below
from src.eval.pareto import pareto_front
from src.eval.results import Results

__all__ = ["tradeoff_figure"]

_MARKERS = "os^Dv"
_MANY = 16  # rows; of more than that only those on the front, and the first, are named
_TOGETHER = 16.0  # points of a page; numbers of markers that are nearer are written together


@dataclass(frozen=True)
class _Point:
    """A row of the table: its number from 1, equal error rate and balanced accuracy of attackers."""

    number: int
    label: str
    eer: float
    bacc: float


def tradeoff_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Balanced accuracy of gender attackers over the equal error rate, and the rows that no other beats in both.

    Of many rows, such as those of a sweep, only these are named, and the first.

    Args:
        path: PNG file.
        benchmark: Name of a benchmark with attacks on gender.
        results: Rows of the comparison; those without both numbers are left out.
    """
    points = _points(benchmark, results)
    by_label = {point.label: point for point in points}
    front = [by_label[label] for label in pareto_front(results, benchmark)]
    named = points if len(points) <= _MANY else [point for point in points if point in front or point is points[0]]
    others = [point for point in points if point not in named]
    told = [f"{p.label} {100 * p.eer:.2f} % and {100 * p.bacc:.2f} %" for p in points]
    best = ", ".join(p.label for p in front)
    figure = Figure(
        path,
        f"{benchmark}: recognition and privacy; the dashed line joins rows that no other beats in both",
        f"Equal error rate and share of genders that attackers guess right on {benchmark}: {'; '.join(told)}. "
        f"Not beaten in both: {best}.",
    )
    with canvas(figure, (SIZE[0], SIZE[1] + 0.6)) as drawing:
        axes = drawing.add_subplot()
        axes.axhline(0.5, color="#767676", linestyle=":", linewidth=1.5, label="blind guessing")
        steps = [p.eer for p in front], [p.bacc for p in front]
        axes.step(*steps, "--", where="post", color="#767676", linewidth=1.5, label="not beaten in both")
        if others:
            places = [p.eer for p in others], [p.bacc for p in others]
            axes.plot(*places, "o", color="#b0b0b0", markersize=6, linestyle="none", label="other rows")
        for i, point in enumerate(named):
            axes.plot(
                point.eer,
                point.bacc,
                _MARKERS[i // len(PALETTE) % len(_MARKERS)],
                color=PALETTE[i % len(PALETTE)],
                markersize=9,
                linestyle="none",
                label=f"{point.number}  {point.label}",
            )
        axes.set(xlabel="equal error rate of verification", ylabel="genders guessed right by attackers")
        axes.set_title(f"{benchmark}: better is lower left")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
            axis.set_major_locator(MaxNLocator(6))
        axes.margins(0.12, 0.1)
        legend_below(drawing, axes)
        _write_numbers(drawing, axes, named)
    return figure


def _points(benchmark: str, results: Sequence[Results]) -> list[_Point]:
    points = []
    for number, row in enumerate(results, start=1):
        eer = row.metrics.get(benchmark, {}).get("eer", math.nan)
        bacc = row.privacy.get(benchmark, {}).get("bacc", math.nan)
        if not math.isnan(eer + bacc):
            points.append(_Point(number, row.label, eer, bacc))
    return points


def _write_numbers(drawing: Canvas, axes: Axes, points: Sequence[_Point]) -> None:
    """Write the number of each point beside it, one text for points that (nearly) coincide."""
    drawing.draw_without_rendering()  # so that the layout, and with it distances on the page, is known
    scale = drawing.dpi / 72
    groups: list[list[_Point]] = []
    for point in points:
        place = axes.transData.transform((point.eer, point.bacc)) / scale
        for group in groups:
            other = axes.transData.transform((group[0].eer, group[0].bacc)) / scale
            if abs(place - other).max() < _TOGETHER:
                group.append(point)
                break
        else:
            groups.append([point])
    for group in groups:
        axes.annotate(
            ", ".join(str(point.number) for point in group),
            (group[0].eer, group[0].bacc),
            xytext=(7, 6),
            textcoords="offset points",
            fontsize=11,
            fontweight="bold",
        )
