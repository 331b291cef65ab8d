"""What embeddings give away, as tables of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.eval.metric_format import format_metric, is_percentage, metric_title
from src.eval.results import Results, privacy_names
from src.eval.score import BenchmarkScore
from src.eval.text_table import TextTable

__all__ = ["gender_names", "privacy_summary_table", "privacy_tables"]

_COLUMNS = {
    "eer": "EER",
    "val@1e-3": "TAR @ 0.1 %",
    "bacc": "guessed",
    "suppression_rate": "suppressed",
    "pic": "PIC",
}


def gender_names(results: Sequence[Results]) -> list[str]:
    """Names of the benchmarks on which gender was attacked in any of the ``results``, those of the last one first."""
    return [name for name in privacy_names(results) if any("bacc" in row.privacy.get(name, {}) for row in results)]


def privacy_summary_table(results: Sequence[Results]) -> TextTable:
    """Recognition and privacy side by side: a row for each of the ``results``, five columns for each gender set.

    Args:
        results: At least one.
    """
    columns = [(name, metric) for name in gender_names(results) for metric in _COLUMNS]
    return TextTable(
        "Recognition and privacy, % but for PIC. Guessed: balanced accuracy of gender attackers on people they never "
        "met, 50 is blind guessing; suppressed: share of their advantage that is gone; PIC: relative gain in privacy "
        "less relative loss in recognition",
        [f"{name}\n{_COLUMNS[metric]}" for name, metric in columns],
        [(row.label, [_text(row.scores.get(name), metric) for name, metric in columns]) for row in results],
    )


def privacy_tables(results: Sequence[Results]) -> dict[str, TextTable]:
    """By benchmark that measures privacy: metrics are rows, ``results`` columns."""
    tables = {}
    for benchmark in privacy_names(results):
        scores = [row.scores.get(benchmark, BenchmarkScore({})) for row in results]
        names = dict.fromkeys(name for score in scores for name in score.privacy)
        tables[benchmark] = TextTable(
            f"{benchmark}: all privacy metrics; in brackets: 95 % confidence interval",
            [row.label for row in results],
            [
                (
                    metric_title(name) + (", %" if is_percentage(name) else ""),
                    [format_metric(name, s.privacy.get(name, math.nan), s.intervals.get(name)) for s in scores],
                )
                for name in names
            ],
        )
    return tables


def _text(score: BenchmarkScore | None, metric: str) -> str:
    values = {} if score is None else score.metrics | score.privacy
    return format_metric(metric, values.get(metric, math.nan))
