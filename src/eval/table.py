"""Results side by side as tables of text: the same in the terminal, on the report page and in loggers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from src.eval.metric_format import DASH, format_metric, is_percentage, metric_title, percent
from src.eval.privacy_table import gender_names, privacy_summary_table, privacy_tables
from src.eval.protection_table import leak_tables, protection_names, protection_summary_table
from src.eval.results import Results, benchmark_names
from src.eval.score import BenchmarkScore
from src.eval.text_table import TextTable, print_table

__all__ = [
    "TextTable",
    "combination_tables",
    "format_metric",
    "headline_metrics",
    "leak_tables",
    "metric_title",
    "metrics_table",
    "print_results",
    "print_table",
    "privacy_summary_table",
    "privacy_tables",
    "protection_summary_table",
    "summary_table",
]

COMBINATION_LEGEND = "N1: the embedding's norm kept; D1: weighted by the detector's score; F1: mirror image added"

_LOWEST_FAR = 1e-4
_OF_ANONYMISERS = ("rec_success", "anon_success", "wrong_success")
_OF_GENERATORS = ("fid", "fid_NIR", "precision", "recall", "eer", "edge_agreement")


def summary_table(results: Sequence[Results]) -> TextTable:
    """The headline metrics: a row for each of the ``results``.

    Args:
        results: At least one.
    """
    columns = [(name, metric) for name in benchmark_names(results) for metric in headline_metrics(results, name)]
    are_rates = all(is_percentage(metric) for _, metric in columns)
    units = ["" if are_rates or not is_percentage(metric) else ", %" for _, metric in columns]
    return TextTable(
        "Headline metrics, %; ± is the deviation over the folds" if are_rates else "Headline metrics",
        [f"{name}\n{metric_title(metric)}{unit}" for (name, metric), unit in zip(columns, units, strict=True)],
        [(row.label, [_headline(row.metrics.get(name, {}), metric) for name, metric in columns]) for row in results],
    )


def headline_metrics(results: Sequence[Results], benchmark: str) -> list[str]:
    """Names of the metrics that stand for a benchmark.

    Accuracy where there is one. Else the true accept rate at the smallest false accept rate from 1e-4 on that the set
    resolves, and of searches rank 1, mAP@5 and, if the set resolves it, the open-set rate at 1 % false positives. Of
    generated images how far they are from real ones, and whether they show people. Of anonymised faces whether they,
    and what passwords recover of them, are recognised or not.
    """
    metrics = next(row.metrics[benchmark] for row in reversed(results) if benchmark in row.metrics)
    if "accuracy" in metrics:
        return ["accuracy"]
    if "rec_success@accuracy" in metrics:
        threshold = "accuracy" if math.isnan(metrics["rec_success@1e-3"]) else "1e-3"
        return [f"{name}@{threshold}" for name in _OF_ANONYMISERS]
    if "edge_agreement" in metrics:
        return [name for stem in _OF_GENERATORS for name in metrics if name.partition("@")[0] == stem]
    rates = {float(name.removeprefix("tar@")): name for name in metrics if name.startswith("tar@")}
    known = sorted(far for far, name in rates.items() if far >= _LOWEST_FAR * 0.99 and not math.isnan(metrics[name]))
    closed = [name for name in ("rank1", "map@5") if name in metrics]
    open_set = [name for name in ("dir@1e-2", "tpir@1e-2") if not math.isnan(metrics.get(name, math.nan))]
    return [rates[far] for far in known[:1]] + closed + open_set[:1]


def combination_tables(results: Sequence[Results]) -> dict[str, TextTable]:
    """By benchmark of templates: true accept rates by how a template is made, ``N0D1F1/tar@1e-4`` and so on."""
    tables = {}
    for benchmark in benchmark_names(results):
        rates = [_combinations(row.metrics.get(benchmark, {})) for row in results]
        fars = sorted({far for row in rates for combination in row.values() for far in combination}, key=float)
        rows = [
            (f"{code} {row.label}" if len(results) > 1 else code, [percent(tars.get(far, math.nan)) for far in fars])
            for row, combinations in zip(results, rates, strict=True)
            for code, tars in combinations.items()
        ]
        if rows:
            caption = f"{benchmark}: TAR at each FAR, %, by flags. {COMBINATION_LEGEND}"
            tables[benchmark] = TextTable(caption, fars, rows)
    return tables


def metrics_table(results: Sequence[Results], benchmark: str) -> TextTable:
    """Every metric of one benchmark with its confidence interval where there is one; a column for each row."""
    scores = [row.scores.get(benchmark, BenchmarkScore({})) for row in results]
    names = dict.fromkeys(name for score in scores for name in score.metrics if "/" not in name)
    return TextTable(
        f"{benchmark}: all metrics; a dash: too few comparisons; in brackets: 95 % confidence interval",
        [row.label for row in results],
        [
            (
                metric_title(name) + (", %" if is_percentage(name) else ""),
                [format_metric(name, s.metrics.get(name, math.nan), s.intervals.get(name)) for s in scores],
            )
            for name in names
        ],
    )


def print_results(results: Sequence[Results]) -> None:
    """Print the headline metrics, flag combinations and privacy."""
    summarised = {*gender_names(results), *protection_names(results)}
    privacy = [table for name, table in privacy_tables(results).items() if name not in summarised]
    tables = [summary_table(results), privacy_summary_table(results), *combination_tables(results).values()]
    for table in [*tables, *privacy, protection_summary_table(results), *leak_tables(results).values()]:
        if table.columns:
            print_table(table)


def _headline(metrics: Mapping[str, float], name: str) -> str:
    text = format_metric(name, metrics.get(name, math.nan))
    deviation = metrics.get(f"{name}_std", math.nan)
    return text if text == DASH or math.isnan(deviation) else f"{text} ± {percent(deviation)}"


def _combinations(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """True accept rate by false accept rate by flag combination; none where there is only one."""
    combinations: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        code, _, metric = name.rpartition("/")
        if code and metric.startswith("tar@"):
            combinations.setdefault(code, {})[metric.removeprefix("tar@")] = value
    return combinations
