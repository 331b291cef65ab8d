"""The pairs that a network finds hardest, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import SubFigure

from src.eval.figures.canvas import SIZE, Figure, canvas
from src.eval.results import safe_name
from src.eval.score import BenchmarkScore, HardPair, ScoreHistogram

if TYPE_CHECKING:
    from src.datamodules.evaluation_images import NumberedImages

__all__ = ["hard_pairs_figure", "hard_pairs_path"]

_COLUMNS = 3
_SHOWN = 6


def hard_pairs_path(folder: Path, benchmark: str, label: str) -> Path:
    """The file that `hard_pairs_figure` writes into ``folder``."""
    return folder / f"pairs_{safe_name(benchmark)}_{safe_name(label)}.png"


def hard_pairs_figure(
    folder: Path, benchmark: str, label: str, score: BenchmarkScore, images: NumberedImages
) -> Figure | None:
    """Show the impostor pairs that look most alike to a network and the genuine pairs that look least alike.

    Args:
        folder: Where the PNG file goes.
        benchmark: Name of the benchmark.
        label: Name of the row.
        score: Names the pairs; six of each kind are shown.
        images: Of the benchmark: item i is ``{"image": uint8 [S, S, 3], ...}``.

    Returns:
        The figure; None where the benchmark names no pairs.
    """
    blocks = [
        ("Different people, most alike", score.curves.false_matches[:_SHOWN]),
        ("Same person, least alike", score.curves.false_non_matches[:_SHOWN]),
    ]
    blocks = [(title, pairs) for title, pairs in blocks if pairs]
    if not blocks:
        return None
    told = [f"{title}: similarity {', '.join(f'{pair.score:.2f}' for pair in pairs)}." for title, pairs in blocks]
    title = f"{benchmark}: hardest pairs ({label}){_accepted(score.curves.histogram)}"
    figure = Figure(hard_pairs_path(folder, benchmark, label), title, f"{title}. {' '.join(told)}")
    rows = [-(-len(pairs) // _COLUMNS) for _, pairs in blocks]
    with canvas(figure, (SIZE[0], 0.5 * len(blocks) + 1.2 * sum(rows))) as drawing:
        drawing.set_dpi(100)  # small faces gain nothing from more
        parts = drawing.subfigures(len(blocks), squeeze=False, height_ratios=[0.5 + 1.2 * n for n in rows])[:, 0]
        for part, (title, pairs), n in zip(parts, blocks, rows, strict=True):
            part.suptitle(title)
            _draw(part, pairs, n, images)
    return figure


def _accepted(histogram: ScoreHistogram | None) -> str:
    if histogram is None or histogram.threshold is None:
        return ""
    return f", accepted from similarity {histogram.threshold:.2f} on"


def _draw(part: SubFigure, pairs: Sequence[HardPair], rows: int, images: NumberedImages) -> None:
    panels = part.subplots(rows, _COLUMNS, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, pair in zip(panels.flat, pairs, strict=False):
        faces = [np.asarray(images[index]["image"]) for index in (pair.first, pair.second)]
        side = len(faces[0])
        gap = np.full((side, max(1, side // 32), 3), 255, dtype=np.uint8)
        axes.imshow(np.concatenate([faces[0], gap, faces[1]], axis=1))
        axes.set_title(f"{pair.score:.2f}", y=0, pad=-14, fontsize=12)
