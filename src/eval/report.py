"""The report page of a run: one HTML file that needs nothing beside it, no network and no JavaScript."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from src.eval.figures import Figure, draw_figures, training_figures
from src.eval.results import Results
from src.eval.table import format_accuracy, privacy_names
from src.files import atomic_write

__all__ = ["write_report"]


def write_report(
    run_dir: Path | str,
    results: Sequence[Results],
    *,
    command: str,
    config_text: str,
    samples: Sequence[Figure] = (),
) -> Path:
    """Draw the figures of a run and write its report page.

    Args:
        run_dir: Folder of the run: figures go to ``figures/``, the page to ``report/index.html``; the training curves
            come from ``metrics.csv`` if it is there.
        results: At least one, e.g. untrained and trained; the last one is the run's result.
        command: The exact command line that made the run.
        config_text: The resolved config as YAML.
        samples: Pictures of images, e.g. generated faces.

    Returns:
        Path of the page.
    """
    run_dir = Path(run_dir)
    final = results[-1]
    metrics_csv = run_dir / "metrics.csv"
    environment = Environment(
        loader=PackageLoader("src.eval"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["embed"] = _embed
    page = environment.get_template("report.html.j2").render(
        experiment=final.experiment,
        checkpoint=final.checkpoint,
        cards=_cards(results),
        labels=[row.label for row in results],
        accuracies=_accuracies(results),
        benchmarks={name: _metrics([row.metrics for row in results], name) for name in final.scores},
        privacy={name: _metrics([row.privacy for row in results], name) for name in privacy_names(results)},
        figures=draw_figures(run_dir / "figures", results),
        training=training_figures(run_dir / "figures", metrics_csv) if metrics_csv.exists() else [],
        samples=samples,
        environment=final.environment,
        command=command,
        config_text=config_text,
    )
    path = run_dir / "report" / "index.html"
    with atomic_write(path, "w") as file:
        file.write(page)
    return path


def _cards(results: Sequence[Results]) -> list[dict[str, str]]:
    """Headline numbers of the last row: accuracies, first metric of each privacy evaluation, duration."""
    final, first = results[-1], results[0]
    cards = []
    for name, metrics in final.metrics.items():
        if "accuracy" in metrics:
            before = first.metrics.get(name, {}).get("accuracy")
            note = "" if first is final or before is None else f"{first.label}: {100 * before:.2f} %"
            cards.append({"title": name, "value": f"{100 * metrics['accuracy']:.2f} %", "note": note})
    for name, metrics in final.privacy.items():
        metric, value = next(iter(metrics.items()))
        cards.append({"title": name, "value": _number(value), "note": metric})
    return [*cards, {"title": "evaluation", "value": f"{final.seconds:.1f} s", "note": "wall-clock time"}]


def _accuracies(results: Sequence[Results]) -> dict[str, list[str]]:
    """Accuracy by benchmark: one text per row."""
    names = [name for name, metrics in results[-1].metrics.items() if "accuracy" in metrics]
    return {name: [format_accuracy(row.metrics.get(name, {})) for row in results] for name in names}


def _metrics(rows: Sequence[dict[str, dict[str, float]]], name: str) -> dict[str, list[str]]:
    """Every metric of one evaluation: one text per row."""
    names = dict.fromkeys(metric for row in rows for metric in row.get(name, {}))
    return {metric: [_number(row.get(name, {}).get(metric, math.nan)) for row in rows] for metric in names}


def _number(value: Any) -> str:
    return "—" if math.isnan(value) else f"{value:.4f}" if isinstance(value, float) else str(value)


def _embed(path: Path) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
