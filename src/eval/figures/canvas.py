"""The look that all figures share, and the PNG files they become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.files import atomic_write

__all__ = ["PALETTE", "SIZE", "Figure", "canvas", "legend_below", "png_text", "read_figure"]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Distinguishable with any kind of colour vision (Okabe and Ito 2008)."""

SIZE = (5.6, 4.2)
"""Inches. At a phone's width, 390 pixels, text is then drawn about 10 pixels high."""

_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(linestyle=["-", "--"]) * cycler(color=PALETTE),
    "grid.color": "#e4e4e4",
    "lines.linewidth": 2,
    "legend.frameon": False,
    "figure.dpi": 150,
}
_CHARACTERS = 50  # of a legend that fit side by side
_LONGEST = 44  # characters of one entry of a legend


@dataclass(frozen=True)
class Figure:
    """A picture for the report.

    Attributes:
        path: PNG file.
        title: Shown below it.
        alt: What it shows, for those who cannot see it.
    """

    path: Path
    title: str
    alt: str


@contextmanager
def canvas(figure: Figure, size: tuple[float, float] = SIZE) -> Iterator[Canvas]:
    """A canvas in the house style that becomes the file of ``figure``; needs no display and no global state.

    Args:
        figure: Its title and alternative text are kept in the file.
        size: Width and height in inches.
    """
    with mpl.rc_context(_STYLE):
        drawing = Canvas(size, layout="constrained")
        yield drawing
        with atomic_write(figure.path) as file:
            drawing.savefig(file, format="png", pil_kwargs={"pnginfo": png_text(figure)})


def png_text(figure: Figure) -> PngInfo:
    """Title and alternative text of ``figure`` as chunks of a PNG file; `read_figure` reads them."""
    info = PngInfo()
    info.add_itxt("Title", figure.title)
    info.add_itxt("Description", figure.alt)
    return info


def read_figure(path: Path) -> Figure:
    """A figure that was drawn earlier; a PNG file without texts gets its name for both."""
    with Image.open(path) as image:
        texts = image.info
        return Figure(path, texts.get("Title", path.stem), texts.get("Description", path.stem))


def legend_below(drawing: Canvas, axes: Axes) -> None:
    """A legend under the axes, in as many columns as its entries allow; the canvas grows by its further lines."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [_shortened(label) for label in labels]
    columns = max(1, min(len(labels), 3, _CHARACTERS // (6 + max(map(len, labels)))))
    drawing.set_figheight(drawing.get_figheight() + 0.21 * ((len(labels) - 1) // columns))
    drawing.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=11)


def _shortened(label: str) -> str:
    if len(label) <= _LONGEST:
        return label
    half = _LONGEST // 2
    return f"{label[:half]}…{label[-half:]}"
