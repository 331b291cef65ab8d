"""Error rates over thresholds and ranks: ROC, DET, CMC and open-set identification, one line for each row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from src.eval.figures.canvas import Figure, canvas, legend_below
from src.eval.results import Results

__all__ = ["cmc_figure", "det_figure", "open_set_figure", "roc_figure"]

Array = NDArray[np.float64]

_GUIDE: dict[str, Any] = {"color": "#767676", "linestyle": ":", "linewidth": 1.5}
_RANKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class _Curve:
    """False and true rates [R] of one row, the false ones ascending."""

    row: Results
    false: Array
    true: Array

    def at(self, rate: float) -> float:
        """Highest true rate whose false rate is at most ``rate``."""
        return float(self.true[self._last(rate)])

    def drawn(self, lowest: float) -> tuple[Array, Array]:
        """The rates from ``lowest`` on; a false rate of zero has no place on a logarithmic axis."""
        start = self._last(lowest)
        return np.maximum(self.false[start:], lowest), self.true[start:]

    def _last(self, rate: float) -> int:
        return max(int(np.searchsorted(self.false, rate, side="right")) - 1, 0)


def roc_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """True accept rate over false accept rate on a logarithmic axis; rows without the curve are left out."""
    curves = _curves(benchmark, results, "roc")
    lowest = _lowest_far(benchmark, curves)
    alt = _tell(f"ROC curve of {benchmark}. True accept rate at a false accept rate of at most", curves, lowest)
    figure = Figure(path, f"{benchmark}: true accept rate over false accept rate (ROC)", alt)
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for curve in curves:
            axes.plot(*curve.drawn(lowest), label=_with_area(benchmark, curve.row))
        chance = np.geomspace(lowest, 1, 200)
        axes.plot(chance, chance, label="chance", **_GUIDE)
        _log_x(axes, lowest)
        axes.set(ylim=(0, 1.01), xlabel="false accept rate", ylabel="true accept rate", title=f"{benchmark}: ROC")
        legend_below(drawing, axes)
    return figure


def det_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """False non-match rate over false match rate, both logarithmic (Martin et al. 1997)."""
    curves = _curves(benchmark, results, "roc")
    lowest = _lowest_far(benchmark, curves)
    least = min(0.1, *(float((1 - curve.true[curve.true < 1 - 1e-12]).min(initial=1.0)) for curve in curves))
    rate = _decade(lowest)
    rates = _listed((curve.row, 1 - curve.at(rate)) for curve in curves)
    alt = f"DET curve of {benchmark}. False non-match rate at a false match rate of at most {rate:.0e}: {rates}."
    figure = Figure(path, f"{benchmark}: false non-match rate over false match rate (DET)", alt)
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for curve in curves:
            matches, hits = curve.drawn(lowest)
            axes.plot(matches, np.maximum(1 - hits, least), label=curve.row.label)
        guide = np.geomspace(min(lowest, least), 1, 2)
        axes.plot(guide, guide, label="equal rates", **_GUIDE)
        _log_x(axes, lowest)
        axes.set(yscale="log", ylim=(least, 1.1), title=f"{benchmark}: DET")
        axes.set(xlabel="false match rate", ylabel="false non-match rate")
        legend_below(drawing, axes)
    return figure


def open_set_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """True over false positive identification rate on a logarithmic axis."""
    curves = _curves(benchmark, results, "open_set")
    lowest = min(0.1, *(float(curve.false[curve.false > 0].min(initial=1.0)) for curve in curves))
    alt = _tell(
        f"Open-set identification on {benchmark}. True positive identification rate at a false one of at most",
        curves,
        lowest,
    )
    figure = Figure(path, f"{benchmark}: searches of people in the gallery and of strangers (open set)", alt)
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for curve in curves:
            axes.plot(*curve.drawn(lowest), label=curve.row.label)
        _log_x(axes, lowest)
        axes.set(ylim=(0, 1.01), title=f"{benchmark}: open-set identification")
        axes.set(xlabel="false positive identification rate", ylabel="true positive identification rate")
        legend_below(drawing, axes)
    return figure


def cmc_figure(path: Path, benchmark: str, results: Sequence[Results]) -> Figure:
    """Share of searches whose mate is within the first ranks (cumulative match characteristic)."""
    rows = [(row, row.scores[benchmark].curves.cmc) for row in results if benchmark in row.scores]
    rows = [(row, rates) for row, rates in rows if rates]
    rates = _listed((row, rates[0]) for row, rates in rows)
    figure = Figure(
        path,
        f"{benchmark}: identification rate over rank (CMC)",
        f"Cumulative match characteristic of {benchmark}. Identification rate at rank 1: {rates}.",
    )
    last = max(len(rates) for _, rates in rows)
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for row, rates_of_row in rows:
            ranks = range(1, len(rates_of_row) + 1)
            axes.plot(ranks, rates_of_row, marker="o" if last <= 20 else None, markersize=4, label=row.label)
        axes.set(xscale="log", xlabel="rank", ylabel="identification rate", title=f"{benchmark}: CMC")
        axes.xaxis.set_major_locator(FixedLocator([rank for rank in _RANKS if rank <= last]))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        lowest = min(min(rates_of_row) for _, rates_of_row in rows)
        margin = 0.04 * max(1 - lowest, 0.05)  # so that points at 1 are not cut, and no tick lies above it
        axes.set_ylim(lowest - margin, 1 + margin)
        legend_below(drawing, axes)
    return figure


def _curves(benchmark: str, results: Sequence[Results], name: Literal["roc", "open_set"]) -> list[_Curve]:
    lines = [(row, getattr(row.scores[benchmark].curves, name)) for row in results if benchmark in row.scores]
    return [_Curve(row, np.array(line[0]), np.array(line[1])) for row, line in lines if line is not None]


def _lowest_far(benchmark: str, curves: Sequence[_Curve]) -> float:
    """Smallest false accept rate that the impostor comparisons can show."""
    lowest = 0.1
    for curve in curves:
        histogram = curve.row.scores[benchmark].curves.histogram
        measured = curve.false[curve.false > 0].min(initial=1.0)
        lowest = min(lowest, float(measured), 1.0 if histogram is None else 1 / max(sum(histogram.impostor), 1))
    return lowest


def _log_x(axes: Axes, lowest: float) -> None:
    axes.set(xscale="log", xlim=(lowest, 1))


def _with_area(benchmark: str, row: Results) -> str:
    area = row.scores[benchmark].metrics.get("auc", math.nan)
    return row.label if math.isnan(area) else f"{row.label} (AUC {area:.4f})"


def _tell(what: str, curves: Sequence[_Curve], lowest: float) -> str:
    rate = _decade(lowest)
    return f"{what} {rate:.0e}: {_listed((curve.row, curve.at(rate)) for curve in curves)}."


def _listed(rates: Iterable[tuple[Results, float]]) -> str:
    return ", ".join(f"{row.label} {100 * rate:.2f} %" for row, rate in rates)


def _decade(lowest: float) -> float:
    """Smallest power of ten that is not below ``lowest``."""
    return float(10 ** math.ceil(math.log10(lowest) - 1e-9))
