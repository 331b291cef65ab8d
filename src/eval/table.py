"""Results side by side as tables of text: the same in the terminal, on the report page and in loggers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.eval.results import Results, benchmark_names, privacy_names
from src.eval.score import BenchmarkScore

__all__ = [
    "TextTable",
    "combination_tables",
    "format_metric",
    "headline_metrics",
    "metric_title",
    "metrics_table",
    "print_results",
    "privacy_tables",
    "summary_table",
]

COMBINATION_LEGEND = "N1: the embedding's norm kept; D1: weighted by the detector's score; F1: mirror image added"

_DASH = "—"
_PERCENT = (
    *("accuracy", "accuracy_std", "accuracy_stderr", "accuracy_noflip", "eer", "val", "val_std"),
    *("tar", "tar_strict", "vr", "rank", "map", "tpir", "dir"),
)
_FALSE_RATES = ("far", "val_far")
_COUNTS = ("unaligned",)
_LOWEST_FAR = 1e-4
_TITLES = {
    "tar": "TAR @ FAR",
    "tar_strict": "TAR @ FAR <=",
    "far": "FAR for",
    "vr": "VR @ FAR",
    "tpir": "TPIR @ FPIR",
    "dir": "DIR @ FAR",
}


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        caption: What it shows, and in which unit.
        columns: Titles of the columns but the first, which names the rows; a line break separates benchmark and metric.
        rows: Name and texts of each row.
    """

    caption: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def summary_table(results: Sequence[Results]) -> TextTable:
    """The headline metrics: a row for each of the ``results``, in percent.

    Args:
        results: At least one.
    """
    columns = [(name, metric) for name in benchmark_names(results) for metric in headline_metrics(results, name)]
    return TextTable(
        "Headline metrics, %; ± is the deviation over the folds",
        [f"{name}\n{metric_title(metric)}" for name, metric in columns],
        [(row.label, [_headline(row.metrics.get(name, {}), metric) for name, metric in columns]) for row in results],
    )


def headline_metrics(results: Sequence[Results], benchmark: str) -> list[str]:
    """Names of the metrics that stand for a benchmark.

    Accuracy where there is one. Else the true accept rate at the smallest false accept rate from 1e-4 on that the set
    resolves, and of searches rank 1, mAP@5 and, if the set resolves it, the open-set rate at 1 % false positives.
    """
    metrics = next(row.metrics[benchmark] for row in reversed(results) if benchmark in row.metrics)
    if "accuracy" in metrics:
        return ["accuracy"]
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
            (f"{code} {row.label}" if len(results) > 1 else code, [_percent(tars.get(far, math.nan)) for far in fars])
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
                metric_title(name) + (", %" if _stem(name) in _PERCENT else ""),
                [format_metric(name, s.metrics.get(name, math.nan), s.intervals.get(name)) for s in scores],
            )
            for name in names
        ],
    )


def privacy_tables(results: Sequence[Results]) -> dict[str, TextTable]:
    """By privacy evaluation: metrics are rows, ``results`` columns."""
    tables = {}
    for evaluation in privacy_names(results):
        metrics = [row.privacy.get(evaluation, {}) for row in results]
        names = dict.fromkeys(name for values in metrics for name in values)
        rows = [(name, [_plain(values.get(name, math.nan)) for values in metrics]) for name in names]
        tables[evaluation] = TextTable(evaluation, [row.label for row in results], rows)
    return tables


def print_results(results: Sequence[Results]) -> None:
    """Print the headline metrics and, where there are any, flag combinations and privacy metrics."""
    summary = summary_table(results)
    tables = [summary] if summary.columns else []
    for table in [*tables, *combination_tables(results).values(), *privacy_tables(results).values()]:
        _print(table)


def metric_title(name: str) -> str:
    """``TAR @ FAR 1e-4`` for ``tar@1e-4``."""
    stem, at, rate = name.partition("@")
    if stem == "map":
        return f"mAP{at}{rate}"
    if stem.startswith("rank"):
        return f"rank {stem.removeprefix('rank').replace('_', ' ')}"
    return f"{_TITLES[stem]} {rate}" if at and stem in _TITLES else name.replace("_", " ")


def format_metric(name: str, value: float, interval: tuple[float, float] | None = None) -> str:
    """A metric with its confidence interval: ``98.71 [98.30, 99.10]``; rates in percent, NaN as a dash.

    Args:
        name: Name of the metric, which tells how it is written.
        value: The metric.
        interval: Its low and high end.
    """
    if math.isnan(value):
        return _DASH
    text = _written(name, value)
    if interval is None or any(math.isnan(end) for end in interval):
        return text
    return f"{text} [{_written(name, interval[0])}, {_written(name, interval[1])}]"


def _headline(metrics: Mapping[str, float], name: str) -> str:
    text = format_metric(name, metrics.get(name, math.nan))
    deviation = metrics.get(f"{name}_std", math.nan)
    return text if text == _DASH or math.isnan(deviation) else f"{text} ± {_percent(deviation)}"


def _combinations(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """True accept rate by false accept rate by flag combination; none where there is only one."""
    combinations: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        code, _, metric = name.rpartition("/")
        if code and metric.startswith("tar@"):
            combinations.setdefault(code, {})[metric.removeprefix("tar@")] = value
    return combinations


def _percent(value: float) -> str:
    return _DASH if math.isnan(value) else f"{100 * value:.2f}"


def _written(name: str, value: float) -> str:
    stem = _stem(name)
    if stem in _PERCENT:
        return _percent(value)
    if stem in _COUNTS:
        return f"{value:.0f}"
    if stem in _FALSE_RATES:
        return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-")
    return _plain(value)


def _stem(name: str) -> str:
    stem = name.partition("@")[0]
    return "rank" if stem.startswith("rank") else stem


def _plain(value: float) -> str:
    return _DASH if math.isnan(value) else f"{value:.4f}" if isinstance(value, float) else str(value)


def _print(table: TextTable) -> None:
    """Print a table in as many parts, one below the other, as its columns need."""
    console = Console()
    name_width = 4 + min(max(len(name) for name, _ in table.rows), console.width // 3)
    parts: list[list[int]] = [[]]
    free = console.width - name_width
    for i, column in enumerate(table.columns):
        width = 3 + max(map(len, (*column.split("\n"), *(texts[i] for _, texts in table.rows))))
        if width > free and parts[-1]:
            parts.append([])
            free = console.width - name_width
        parts[-1].append(i)
        free -= width
    console.print(escape(table.caption), style="italic")
    for columns in parts:
        drawn = Table()
        drawn.add_column("", max_width=name_width - 4, overflow="fold")
        for i in columns:
            drawn.add_column(escape(table.columns[i]), justify="right", overflow="fold")
        for name, texts in table.rows:
            drawn.add_row(escape(name), *(texts[i] for i in columns))
        console.print(drawn)
