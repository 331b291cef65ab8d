"""Templates in the plane, as a gender attacker sees them, before and after protection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from src.datamodules.genders import GENDERS
from src.eval.figures.canvas import PALETTE, SIZE, Figure, canvas, legend_below
from src.eval.results import Results
from src.eval.score import Projection

__all__ = ["projection_figure"]

_COLUMNS, _PANELS = 2, 4


def projection_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Decision of a linear attacker and first principal component of templates, a panel for each row that has them.

    Of more than four rows only the first and the last are shown.

    Args:
        path: PNG file.
        benchmark: Name of a benchmark with attacks on gender.
        results: Rows of the comparison.
    """
    found = [(row, row.scores[benchmark].curves.projection) for row in results if benchmark in row.scores]
    panels = [(row, projection) for row, projection in found if projection is not None]
    if len(panels) > _PANELS:
        panels = [panels[0], panels[-1]]
    figure = Figure(
        path,
        f"{benchmark}: templates as a linear gender attacker sees them; left of the dashed line it says female",
        f"Templates of {benchmark} by gender, over the decision of a linear attacker that did not meet these people. "
        + " ".join(_tell(row, projection) for row, projection in panels),
    )
    lines = -(-len(panels) // _COLUMNS)
    with canvas(figure, (SIZE[0], 1.1 + 2.5 * lines)) as drawing:
        grid = drawing.subplots(lines, min(len(panels), _COLUMNS), sharex=True, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (row, projection) in zip(grid.flat, panels, strict=False):
            _draw(axes, row.label, projection)
        for axes in grid[-1]:
            axes.set_xlabel("attacker's decision")
        for axes in grid[:, 0]:
            axes.set_ylabel("principal component")
        legend_below(drawing, grid.flat[0])
    return figure


def _draw(axes: Axes, label: str, projection: Projection) -> None:
    attribute = np.array(projection.attribute)
    decision, component = np.array(projection.decision), np.array(projection.component)
    for gender, (name, marker) in enumerate(zip(GENDERS, "o^", strict=True)):
        mine = attribute == gender
        color = PALETTE[1 - gender]
        axes.plot(decision[mine], component[mine], marker, color=color, markersize=4, alpha=0.5, mew=0, label=name)
    axes.axvline(0, color="black", linestyle="--", linewidth=1)
    axes.set_title(label if len(label) <= 26 else f"{label[:12]}…{label[-12:]}", fontsize=12)


def _tell(row: Results, projection: Projection) -> str:
    is_male = np.array(projection.attribute) == 1
    right = ((np.array(projection.decision) > 0) == is_male).mean()
    means = [np.mean(np.array(projection.decision)[is_male == gender]) for gender in (False, True)]
    return (
        f"{row.label}: {100 * right:.0f} % are on the right side; mean decision {means[0]:.2f} for women and "
        f"{means[1]:.2f} for men."
    )
