"""Methods side by side: recognition, privacy and cost, as tables and as a file."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.eval.metric_format import DASH, format_metric
from src.eval.results import Results
from src.eval.table import TextTable
from src.files import atomic_write

__all__ = ["COST", "METHOD", "comparison_tables", "write_comparison"]

METHOD = "method"
"""Section of a row's privacy metrics that holds what the method costs."""
COST = {"dim": "dim", "parameters": "params", "fit_seconds": "fit s"}
"""Its metrics: length of a template, learnt numbers needed to make one, and seconds to learn them."""

_METRICS = {
    "eer": "EER",
    "val@1e-3": "TAR",
    "accuracy": "ACC",
    "bacc_logreg": "LogReg",
    "bacc_svm": "SVM",
    "bacc_rbf": "RBF",
    "bacc": "AVG",
    "suppression_rate": "SR",
    "pic": "PIC",
}


def comparison_tables(results: Sequence[Results], benchmarks: Sequence[str]) -> list[TextTable]:
    """A table for each benchmark, a row for each of the ``results``."""
    return [
        TextTable(
            f"{benchmark}, %. TAR: at 0.1 % false accepts. LogReg, SVM, RBF: balanced accuracy of gender attackers, "
            "AVG: its mean, 50 is blind guessing. SR: share of their advantage that is gone. PIC: privacy gained less "
            "recognition lost. dim: of a template; params: learnt numbers to make one; fit s: seconds to learn them",
            [*_METRICS.values(), *COST.values()],
            [(row.label, _texts(_numbers(row, benchmark))) for row in results],
        )
        for benchmark in benchmarks
    ]


def write_comparison(path: Path, results: Sequence[Results], benchmarks: Sequence[str]) -> None:
    """Write a line for each method and benchmark; rates are fractions of 1, what is not known is empty.

    Args:
        path: CSV file.
        results: A row for each method.
        benchmarks: Names.
    """
    with atomic_write(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "benchmark", *_METRICS, *COST])
        for benchmark in benchmarks:
            for row in results:
                numbers = _numbers(row, benchmark).values()
                writer.writerow([row.label, benchmark, *("" if math.isnan(number) else number for number in numbers)])


def _numbers(row: Results, benchmark: str) -> dict[str, float]:
    score = row.scores[benchmark]
    known = score.metrics | score.privacy | row.privacy[METHOD]
    return {name: known.get(name, math.nan) for name in (*_METRICS, *COST)}


def _texts(numbers: Mapping[str, float]) -> list[str]:
    return [_cost(name, value) if name in COST else format_metric(name, value) for name, value in numbers.items()]


def _cost(name: str, value: float) -> str:
    if math.isnan(value):
        return DASH
    return f"{value:.1f}" if name == "fit_seconds" else f"{value:,.0f}"
