"""Synthetic identities: how alike their images are, and how near they come to real people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.eval.figures.canvas import PALETTE, Figure, canvas, legend_below
from src.eval.generative.identities import IdentityScores
from src.eval.generative.membership import Membership

__all__ = ["identity_figure", "membership_figure"]

_BINS = 60


def identity_figure(path: Path, scores: IdentityScores, real: IdentityScores | None = None, of: str = "") -> Figure:
    """Similarities of images of one and of two synthetic identities.

    Args:
        path: PNG file.
        scores: Of synthetic identities.
        real: Of real people, to compare with.
        of: Whose people they are, or by what network, beside other figures.
    """
    shown = {"same identity": scores.curve.genuine, "different identities": scores.curve.impostor}
    if real is not None:
        shown |= {"same real person": real.curve.genuine, "different real people": real.curve.impostor}
    whose = f" ({of})" if of else ""
    text = f"Are synthetic identities people{whose}? EER {100 * scores.curve.eer:.2f} %"
    return _distributions(path, text, f"Synthetic identities{whose}", shown, scores.eer_threshold)


def membership_figure(path: Path, found: Membership) -> Figure:
    """Similarity of synthetic images to the nearest person who was trained on, and to the nearest who was not.

    Args:
        path: PNG file.
        found: Of as many people of both kinds.
    """
    shown = {"people trained on": found.compared_training, "people held out": found.compared_held_out}
    text = f"Do synthetic faces give away who was trained on? Attack's AUC {found.attack.auc:.3f}, chance 0.5"
    # A handful of breaches among thousands of images has to be seen.
    return _distributions(path, text, "Nearest real person", shown, found.threshold, scale="log")


def _distributions(
    path: Path,
    text: str,
    title: str,
    shown: Mapping[str, NDArray[np.floating]],
    threshold: float,
    scale: str = "linear",
) -> Figure:
    """Histograms; the first two are filled, others outlined."""
    means = ", ".join(f"{name} {scores.mean():.3f}" for name, scores in shown.items())
    figure = Figure(path, text, f"Histograms of similarities, threshold {threshold:.3f}. Means: {means}.")
    low, high = (float(end([end(scores) for scores in shown.values()])) for end in (np.min, np.max))
    edges = np.linspace(low, max(high, low + 1e-3), _BINS + 1)
    with canvas(figure) as drawing:
        axes = drawing.add_subplot()
        for i, (name, scores) in enumerate(shown.items()):
            density = np.histogram(scores, edges)[0] / np.diff(edges) / len(scores)
            if i < 2:
                axes.stairs(density, edges, fill=True, alpha=0.65, color=PALETTE[i], label=name)
            else:
                axes.stairs(density, edges, linewidth=2, color=PALETTE[i], label=name)
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1.5, label="threshold")
        axes.set(xlabel="similarity", ylabel="density", yscale=scale, title=title)
        legend_below(drawing, axes)
    return figure
