"""What protected templates give away: linking, renewing and inverting them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from src.eval.figures.canvas import PALETTE, SIZE, Figure, canvas, legend_below
from src.eval.protection.keys import KEY_TYPES
from src.eval.results import Results
from src.eval.score import Linkability, ProtectionCurves

__all__ = ["collision_figure", "inversion_figure", "link_figure", "renewal_figure"]

Array = NDArray[np.float64]

_MATED, _OTHERS, _RENEWED = PALETTE[0], PALETTE[1], PALETTE[2]
_COLUMNS = 2
_BINS = 24  # of a panel
_FEWEST = 0.002  # share of the scores in a bin whose linkability is drawn
_AROUND = 0.05  # cosine to draw beyond what was measured
_TITLES = {key_type.name: key_type.title for key_type in KEY_TYPES}
_RECORDS = "records_cos@"


def link_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Scores of templates of one and of two people under different keys, a panel for each kind of key.

    Of the scores by which a thief can compare, the one that links best is shown; of several rows the last one.

    Args:
        path: PNG file.
        benchmark: Name of an analysis of protected templates.
        results: Rows of the comparison.
    """
    label, curves = _last(benchmark, results)
    best: dict[str, Linkability] = {}
    for found in curves.linkability:
        if found.key not in best or found.d_sys > best[found.key].d_sys:
            best[found.key] = found
    told = [f"{_TITLES.get(key, key)} {found.d_sys:.3f}" for key, found in best.items()]
    figure = Figure(
        path,
        f"{benchmark}: can templates of one person be linked? D: 0 not at all, 1 always ({label})",
        f"Scores of templates of the same and of different people under different keys, {label}. "
        f"Linkability D_sys: {'; '.join(told)}. By chance alone {max(found.chance for found in best.values()):.3f}.",
    )
    lines = len(best) // _COLUMNS + 1  # the last place is the legend's
    with canvas(figure, (SIZE[0], 1.6 * lines)) as drawing:
        grid = drawing.subplots(lines, _COLUMNS, squeeze=False)
        for axes in grid.flat[len(best) :]:
            axes.set_axis_off()
        for axes, found in zip(grid.flat, best.values(), strict=False):
            _draw_link(axes, found)
        drawing.supxlabel("share of equal symbols", fontsize=11)
        grid.flat[-1].legend(*grid.flat[0].get_legend_handles_labels(), loc="center", fontsize=11)
    return figure


def renewal_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Shares of equal symbols of the same person, of others, and of the same person after the identifier was renewed.

    Arguments are those of `link_figure`.
    """
    label, curves = _last(benchmark, results)
    found = curves.renewal
    edges = np.array(found.edges)
    kinds = (
        ("same person", found.genuine, _MATED),
        ("different people", found.impostor, _OTHERS),
        ("same person, old template", found.renewed, _RENEWED),
    )
    middle = np.convolve(edges, (0.5, 0.5), "valid")
    told = [f"{name} {np.dot(middle, counts) / max(sum(counts), 1):.3f}" for name, counts, _ in kinds]
    figure = Figure(
        path,
        f"{benchmark}: does an old template match its person once the identifier was renewed? ({label})",
        f"Histograms of shares of equal symbols, {label}. Means: {', '.join(told)}.",
    )
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for name, counts, color in kinds:
            axes.stairs(_density(counts, edges), edges, fill=True, alpha=0.6, color=color, label=name)
        shown = np.flatnonzero(np.sum([counts for _, counts, _ in kinds], axis=0))
        axes.set(xlim=(max(0.0, edges[shown[0]] - 0.02), min(1.0, edges[shown[-1] + 1] + 0.02)))
        axes.set(xlabel="share of equal symbols", ylabel="density", title=f"{benchmark}: renewed identifiers")
        legend_below(drawing, axes)
    return figure


def collision_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Share of equal symbols over the cosine of embeddings: law, random projections and the method's codes.

    Arguments are those of `link_figure`.
    """
    label, curves = _last(benchmark, results)
    found = curves.collisions
    ends = found.cosine[0] - _AROUND, found.cosine[-1] + _AROUND
    grid = np.linspace(max(ends[0], -1), min(ends[1], 1), 100)
    figure = Figure(
        path,
        f"{benchmark}: how alike codes are, by how alike embeddings are ({label})",
        f"Share of equal symbols over the cosine of embeddings, {label}. At cosine {found.cosine[-1]:.2f} the law says "
        f"{np.interp(found.cosine[-1], *found.law):.2f}, random projections share {found.projection[-1]:.2f}, codes of "
        f"the method {found.code[-1]:.2f}.",
    )
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        axes.plot(grid, np.interp(grid, *found.law), "-", color="#767676", label="law of random projections")
        axes.plot(found.cosine, found.projection, "s", color=_OTHERS, markersize=6, label="random projections")
        axes.plot(found.cosine, found.code, "o", color=_MATED, markersize=6, label=label)
        axes.set(xlabel="cosine of embeddings", ylabel="share of equal symbols", title=f"{benchmark}: codes and faces")
        legend_below(drawing, axes)
    return figure


def inversion_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Cosine of true embeddings and of those rebuilt from what was stolen, a colour for each row.

    Arguments are those of `link_figure`.
    """
    rows = [row for row in results if _protection(row, benchmark) is not None]
    thefts = _thefts(rows[-1].privacy[benchmark])
    cosines = [[row.scores[benchmark].privacy.get(name, math.nan) for name, _ in thefts] for row in rows]
    told = [
        f"{row.label}: " + ", ".join(f"{title} {value:.2f}" for (_, title), value in zip(thefts, values, strict=True))
        for row, values in zip(rows, cosines, strict=True)
    ]
    figure = Figure(
        path,
        f"{benchmark}: how alike are rebuilt and true embeddings? 1: the same",
        f"Cosine of true and rebuilt embeddings. {'. '.join(told)}.",
    )
    with canvas(figure, (SIZE[0], 1.5 + 0.3 * len(thefts) * max(1.0, 0.5 * len(rows)))) as drawing:
        axes = drawing.add_subplot()
        height = 0.7 / len(rows)
        for i, (row, values) in enumerate(zip(rows, cosines, strict=True)):
            places = [j + height * (i - (len(rows) - 1) / 2) for j in range(len(thefts))]
            axes.barh(places, values, height, color=PALETTE[i % len(PALETTE)], label=row.label)
        axes.set(yticks=range(len(thefts)), yticklabels=[title for _, title in thefts], ylim=(len(thefts) - 0.4, -0.6))
        axes.set(xlabel="cosine of rebuilt and true embedding", xlim=(min(0.0, axes.get_xlim()[0]), 1))
        axes.grid(axis="y", visible=False)
        legend_below(drawing, axes)
    return figure


def _draw_link(axes: Axes, found: Linkability) -> None:
    edges, (mated, others) = _coarse(found)
    local = np.divide(mated - others, mated + others, out=np.zeros_like(mated), where=mated > others)
    local[np.maximum(mated, others) * np.diff(edges) < _FEWEST] = math.nan  # chance
    scale = max(mated.max(), others.max())
    axes.stairs(others / scale, edges, fill=True, alpha=0.65, color=_OTHERS, label="different people")
    axes.stairs(mated / scale, edges, fill=True, alpha=0.65, color=_MATED, label="same person")
    axes.stairs(local, edges, color="black", linewidth=1.2, baseline=None, label="linkability of a score")
    how = ", symbols renamed" if found.score == "relabelled" else ""
    axes.set_title(f"{_TITLES.get(found.key, found.key)}\nD = {found.d_sys:.2f}{how}", fontsize=11)
    axes.set(ylim=(0, 1.05), yticks=(0, 1))
    axes.tick_params(labelsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _coarse(found: Linkability) -> tuple[Array, tuple[Array, Array]]:
    """Edges and densities in fewer bins: fine ones hold one or two of the possible scores by turns."""
    step = -(-len(found.mated) // _BINS)
    starts = np.arange(0, len(found.mated), step)
    edges = np.append(np.array(found.edges)[starts], found.edges[-1])
    mated, others = (
        _density(np.add.reduceat(np.array(counts), starts), edges) for counts in (found.mated, found.non_mated)
    )
    return edges, (mated, others)


def _density(counts: Sequence[int] | NDArray[np.int64], edges: Array) -> Array:
    return np.array(counts) / np.diff(edges) / max(np.sum(counts), 1)


def _thefts(metrics: dict[str, float]) -> list[tuple[str, str]]:
    """Metrics of rebuilt embeddings and what was stolen for each."""
    records = [name for name in metrics if name.startswith(_RECORDS) and not name.endswith("@1")]
    return [
        ("typical_cos", "nothing: a typical face"),
        ("templates_cos", "templates alone"),
        ("linear_cos", "both stores, linear"),
        ("gradient_cos", "both stores, gradient"),
        *((name, f"both stores of {name.removeprefix(_RECORDS)} systems") for name in records),
    ]


def _last(benchmark: str, results: Sequence[Results]) -> tuple[str, ProtectionCurves]:
    """Label and curves of the last row that has any."""
    found = [(row.label, curves) for row in results if (curves := _protection(row, benchmark)) is not None]
    return found[-1]


def _protection(row: Results, benchmark: str) -> ProtectionCurves | None:
    return row.scores[benchmark].curves.protection if benchmark in row.scores else None
