"""How well faces are anonymised and recovered, as curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from src.eval.anonymization.flips import FlippedBits
from src.eval.figures.canvas import PALETTE, Figure, canvas, legend_below

__all__ = ["flip_figure", "success_figure"]

_STEPS = 200
_SHOWN = {"rec": "recovered", "anon": "anonymised", "wrong": "recovered with a wrong password"}


def flip_figure(path: Path, flipped: FlippedBits, threshold: float, of: str) -> Figure:
    """Likeness of recovered faces to the originals over the number of wrong bits in the password.

    Args:
        path: PNG file.
        flipped: What was recovered.
        threshold: Cosine from which on faces are taken for one person.
        of: Whose faces they are, and by what network.
    """
    mean = flipped.similarity.mean(1)
    low, high = (flipped.similarity.quantile(share, dim=1) for share in (0.1, 0.9))
    worst = float(flipped.single.mean(1).max())
    text = (
        f"Recovery with wrong bits in the password ({of}). Cosine to the original: {float(mean[0]):.3f} with none, "
        f"{float(mean[1]):.3f} with one, {worst:.3f} with the one that matters least, {float(mean[-1]):.3f} with all"
    )
    figure = Figure(path, text, f"Curve of the cosine over 0 to {len(mean) - 1} wrong bits; threshold {threshold:.3f}.")
    counts = np.arange(len(mean))
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        axes.plot(counts, mean.numpy(), color=PALETTE[0], label="mean")
        axes.fill_between(counts, low.numpy(), high.numpy(), color=PALETTE[0], alpha=0.2, label="80 % of the faces")
        axes.plot([1], [worst], "o", color=PALETTE[1], label="bit that matters least")
        axes.axhline(threshold, color="black", linestyle="--", linewidth=1.5, label="threshold")
        axes.set(xlabel="wrong bits in the password", ylabel="cosine to the original", title="Password sensitivity")
        legend_below(drawing, axes)
    return figure


def success_figure(path: Path, similarities: Mapping[str, Tensor], thresholds: Mapping[str, float], of: str) -> Figure:
    """Share of faces that are recognised as the original over the threshold.

    Args:
        path: PNG file.
        similarities: Cosines [N] to the originals of recovered (``rec``), anonymised (``anon``) and wrongly recovered
            faces (``wrong``).
        thresholds: By name; those that are not known are NaN.
        of: Whose faces they are, and by what network.
    """
    grid = np.linspace(-1, 1, _STEPS + 1)
    shares = {kind: (similarities[kind].numpy() >= grid[:, None]).mean(1) for kind in _SHOWN}
    marked = {name: value for name, value in thresholds.items() if not np.isnan(value)}
    name, threshold = next(iter(marked.items()))
    told = ", ".join(
        f"{title} {100 * float((similarities[kind] >= threshold).double().mean()):.1f} %"
        for kind, title in _SHOWN.items()
    )
    title = f"Recognised as the original ({of}), at the threshold {name}: {told}"
    figure = Figure(path, title, f"Three falling curves over the threshold. {told}.")
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for kind, title in _SHOWN.items():
            axes.plot(grid, 100 * shares[kind], label=title)
        for style, (key, value) in zip((":", "--"), marked.items(), strict=False):
            label = "threshold at FMR 0.001" if key == "1e-3" else "threshold of the accuracy"
            axes.axvline(value, color="black", linestyle=style, linewidth=1.5, label=label)
        axes.set(xlabel="threshold", ylabel="recognised as the original, %", title="Who is recognised")
        legend_below(drawing, axes)
    return figure
