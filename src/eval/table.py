"""Results side by side in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.eval.results import Results

__all__ = ["format_accuracy", "print_results", "privacy_names", "results_table"]


def results_table(results: Sequence[Results]) -> Table:
    """Rows are runs, columns benchmarks: accuracy ± deviation over the folds in percent.

    Args:
        results: At least one; benchmarks come in the order of the last one.
    """
    table = Table("", title="Verification accuracy, %")
    names = list(results[-1].scores)
    for name in names:
        table.add_column(escape(name), justify="right")
    for row in results:
        table.add_row(escape(row.label), *(format_accuracy(row.metrics.get(name, {})) for name in names))
    return table


def print_results(results: Sequence[Results]) -> None:
    """Print the accuracies and, where there are any, the privacy metrics of ``results``."""
    console = Console()
    if any(row.scores for row in results):
        console.print(results_table(results))
    for name in privacy_names(results):
        table = Table("", title=escape(name))
        metrics = list(dict.fromkeys(metric for row in results for metric in row.privacy.get(name, {})))
        for row in results:
            table.add_column(escape(row.label), justify="right")
        for metric in metrics:
            values = (row.privacy.get(name, {}).get(metric, math.nan) for row in results)
            table.add_row(escape(metric), *("—" if math.isnan(value) else f"{value:.4f}" for value in values))
        console.print(table)


def privacy_names(results: Sequence[Results]) -> list[str]:
    """Names of the privacy evaluations of any of the ``results``, in order of appearance."""
    return list(dict.fromkeys(name for row in results for name in row.privacy))


def format_accuracy(metrics: dict[str, float]) -> str:
    """``98.71 ± 0.35`` (percent), or a dash where there is no accuracy."""
    accuracy, deviation = metrics.get("accuracy", math.nan), metrics.get("accuracy_std", math.nan)
    if math.isnan(accuracy):
        return "—"
    return f"{100 * accuracy:.2f}" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")
