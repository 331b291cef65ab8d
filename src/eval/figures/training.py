"""Curves of a training, from ``metrics.csv``."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from src.eval.figures.canvas import Figure, canvas, legend_below
from src.eval.results import safe_name

__all__ = ["training_figures"]

_KIMG = "Progress/kimg"
_VIS, _NIR = "visible light", "near infrared"
_GENERATOR = {
    "FID": {"Metrics/fid": _VIS, "Metrics/fid_NIR": _NIR},
    "precision and recall": {
        "Metrics/precision": "precision",
        "Metrics/recall": "recall",
        "Metrics/precision_NIR": f"precision, {_NIR}",
        "Metrics/recall_NIR": f"recall, {_NIR}",
    },
    "agreement of edges": {
        "Metrics/edge_agreement": "pairs",
        "Metrics/edge_agreement_shuffled": "shuffled",
        "Metrics/edge_agreement_real": "real pairs",
        "Metrics/edge_agreement_shuffled_real": "real, shuffled",
    },
    "similarity of synthetic people": {
        "Metrics/genuine_mean": "same person",
        "Metrics/impostor_mean": "two people",
        "Metrics/nearest_training": "nearest real person",
    },
    "losses": {
        "Loss/G/loss": "generator",
        "Loss/D/loss": "discriminator",
        "Loss/D/loss_NIR": f"discriminator, {_NIR}",
    },
    "scores of the discriminators": {
        "Loss/scores/real": "real",
        "Loss/scores/fake": "generated",
        "Loss/scores/real_NIR": f"real, {_NIR}",
        "Loss/scores/fake_NIR": f"generated, {_NIR}",
    },
    "penalty of gradients": {"Loss/r1_penalty": _VIS, "Loss/r1_penalty_NIR": _NIR},
    "probability of augmentations": {"Progress/augment": "probability"},
}
"""Panels of a generator: labels of their lines by the names of metrics, but for the extractor."""


@dataclass(frozen=True)
class _Line:
    """Values of a metric, the steps they were logged at, and, where that was logged with them, thousand images."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    kimg: list[float] = field(default_factory=list)


Panel = Mapping[str, _Line]


def training_figures(folder: Path, metrics_csv: Path) -> list[Figure]:
    """Draw one figure per training metric and one of the accuracy on every benchmark, or the panels of a generator.

    They are drawn over optimiser steps, those of a generator over thousand images.

    Args:
        folder: Where the PNG files go.
        metrics_csv: As Lightning's CSV logger writes it.
    """
    columns = _read(metrics_csv)
    panels = {title: lines for title, lines in {**_of_embeddings(columns), **_of_generator(columns)}.items() if lines}
    return [_draw(folder, title, lines) for title, lines in panels.items()]


def _draw(folder: Path, title: str, lines: Panel) -> Figure:
    by_images = all(len(line.kimg) == len(line.values) for line in lines.values())
    ends = [f"{label} from {line.values[0]:.4g} to {line.values[-1]:.4g}" for label, line in lines.items()]
    figure = Figure(
        folder / f"training_{safe_name(title)}.png",
        f"{title} during training",
        f"{title} over {'thousand images' if by_images else 'steps'}: {', '.join(ends)}.",
    )
    with canvas(figure, (4.8, 3.4)) as drawing:
        axes = drawing.add_subplot()
        for label, line in lines.items():
            marker = "o" if len(line.values) < 20 else None
            axes.plot(line.kimg if by_images else line.steps, line.values, label=label, marker=marker, markersize=4)
        axes.set(title=title, xlabel="thousand images" if by_images else "step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=not by_images))
        if len(lines) > 1:
            legend_below(drawing, axes)
    return figure


def _read(metrics_csv: Path) -> dict[str, _Line]:
    """Lines by name of the column."""
    columns: dict[str, _Line] = defaultdict(_Line)
    with open(metrics_csv, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and name not in ("step", "epoch"):
                    columns[name].steps.append(int(row["step"]))
                    columns[name].values.append(float(text))
                    if row.get(_KIMG):
                        columns[name].kimg.append(float(row[_KIMG]))
    return columns


def _of_embeddings(columns: Mapping[str, _Line]) -> dict[str, Panel]:
    """Panels of `train/...`, learning rates and `val/BENCHMARK/accuracy`."""
    panels: dict[str, Panel] = {}
    for name, line in columns.items():
        if name.startswith("train/") and not name.endswith("_epoch"):
            title = name.removeprefix("train/").removesuffix("_step").replace("_", " ")
            panels[title] = {"training": line}
    accuracy = {name.split("/")[1]: line for name, line in columns.items() if name.endswith("/accuracy")}
    rates = {name.removeprefix("lr-"): line for name, line in columns.items() if name.startswith("lr-")}
    return {"benchmark accuracy": accuracy} | panels | {"learning rate": rates}


def _of_generator(columns: Mapping[str, _Line]) -> dict[str, Panel]:
    panels: dict[str, Panel] = {}
    for title, labels in _GENERATOR.items():
        panels[title] = {
            f"{label} ({extractor})" if extractor else label: line
            for metric, label in labels.items()
            for name, line in columns.items()
            for stem, _, extractor in [name.partition("@")]
            if stem == metric
        }
    return panels
