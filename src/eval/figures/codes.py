"""How index codes develop in training: the angles that their loss acts on, and how evenly they use their symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from src.eval.figures.canvas import PALETTE, Figure, canvas, legend_below
from src.ops.symbol_statistics import symbol_entropy

__all__ = ["entropy_figure", "hardest_figure", "symbol_figure"]

_SMALL = (4.8, 3.4)


def hardest_figure(path: Path, steps: Sequence[int], positive: Sequence[float], negative: Sequence[float]) -> Figure:
    """Widest angle to a face of the same person and narrowest to one of another, means over the faces of a batch.

    Args:
        path: PNG file.
        steps: Optimiser steps, at least one.
        positive: Degrees.
        negative: Degrees.
    """
    figure = Figure(
        path,
        "Angles between soft codes during training: a batch is told apart where the second is above the first",
        f"Angles over steps {steps[0]:,} to {steps[-1]:,}: widest to the same person from {positive[0]:.1f}° to "
        f"{positive[-1]:.1f}°, narrowest to another person from {negative[0]:.1f}° to {negative[-1]:.1f}°.",
    )
    with canvas(figure, _SMALL) as drawing:
        axes = drawing.add_subplot()
        marker = "o" if len(steps) < 20 else None
        for label, values in (("same person, widest", positive), ("another person, narrowest", negative)):
            axes.plot(steps, values, label=label, marker=marker, markersize=4)
        axes.set(title="Hardest pairs of a batch", xlabel="step", ylabel="degrees", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend_below(drawing, axes)
    return figure


def symbol_figure(path: Path, counts: Tensor) -> Figure:
    """How often each symbol occurs, over all positions.

    Args:
        path: PNG file.
        counts: int64 [m, q], occurrences at every position.
    """
    q = counts.shape[1]
    shares = (counts.sum(0) / counts.sum()).tolist()
    ends = f"from {100 * min(shares):.1f} % to {100 * max(shares):.1f} %"
    figure = Figure(
        path,
        f"Symbols of the validation codes, over all positions; dashed: all {q} equally often",
        f"Shares of the {q} symbols, {ends}; {100 / q:.1f} % each would be even.",
    )
    with canvas(figure, _SMALL) as drawing:
        axes = drawing.add_subplot()
        axes.bar(range(q), shares, color=PALETTE[0], linestyle="-")
        axes.axhline(1 / q, color="black", linestyle="--", linewidth=1)
        axes.set(title="Frequency of symbols", xlabel="symbol")
        axes.xaxis.set_major_locator(MaxNLocator(min(q, 8), integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="x", visible=False)
    return figure


def entropy_figure(path: Path, counts: Tensor) -> Figure:
    """Entropy of the symbol at every position.

    Args:
        path: PNG file.
        counts: int64 [m, q], occurrences at every position, none without any.
    """
    m, q = counts.shape
    entropy = symbol_entropy(counts)
    low, middle, high = torch.quantile(entropy, entropy.new_tensor([0.0, 0.5, 1.0])).tolist()
    figure = Figure(
        path,
        f"Entropy of each of the {m} positions of the validation codes; dashed: {math.log2(q):g} bits, the most there "
        "can be",
        f"Entropies of {m} positions: lowest {low:.2f}, median {middle:.2f}, highest {high:.2f} of "
        f"{math.log2(q):g} bits.",
    )
    with canvas(figure, _SMALL) as drawing:
        axes = drawing.add_subplot()
        axes.plot(range(m), entropy.tolist(), "o", color=PALETTE[0], markersize=3, alpha=0.6, mew=0)
        axes.axhline(math.log2(q), color="black", linestyle="--", linewidth=1)
        axes.set(title="Entropy of positions", xlabel="position", ylabel="bits", ylim=(0, 1.05 * math.log2(q)))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure
