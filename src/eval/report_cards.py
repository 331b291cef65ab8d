"""The headline numbers at the top of a report page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from src.eval.metric_format import DASH, format_metric, is_percentage, lower_is_better, metric_title
from src.eval.privacy_table import gender_names
from src.eval.protection_table import MARK, protection_names
from src.eval.results import Results, benchmark_names
from src.eval.table import headline_metrics

__all__ = ["cards_of_rows", "cards_of_runs"]

_PROTECTION = {MARK: "D_sys of templates alone", "gradient_cos": "rebuilt from both stores"}
_GENDER = {"bacc": "guessed by attackers", "eer": "EER"}


def cards_of_rows(results: Sequence[Results]) -> list[dict[str, str]]:
    """Headline numbers of the last row, compared with those of the first."""
    first, final = results[0], results[-1]
    cards = []
    for name, metric, values in _headlines(results):
        if final.label in values:
            compared = first.label in values and first is not final
            note = f"{first.label}: {values[first.label]}" if compared else ""
            cards.append({"title": f"{name} {metric_title(metric)}", "value": values[final.label], "note": note})
    return [
        *cards,
        *_privacy_cards(first, final),
        *_protection_cards(results),
        {"title": "evaluation", "value": f"{final.seconds:.1f} s", "note": "wall-clock time"},
    ]


def _privacy_cards(first: Results, final: Results) -> list[dict[str, str]]:
    """How well gender is guessed and people are told apart; of other privacy evaluations the first metric."""
    cards = []
    for name, metrics in final.privacy.items():
        if MARK in metrics:
            continue
        for metric in _GENDER if "bacc" in metrics else list(metrics)[:1]:
            before, after = (_privacy_text(row, name, metric) for row in (first, final))
            note = f"{first.label}: {before}" if before != DASH and first is not final else ""
            title = f"{name} {_GENDER.get(metric, metric_title(metric))}"
            cards.append({"title": title, "value": after, "note": note})
    return cards


def _protection_cards(results: Sequence[Results]) -> Iterator[dict[str, str]]:
    """What a thief of the templates learns, and one of everything, of the last row that tells."""
    for name in protection_names(results):
        row = [row for row in results if MARK in row.privacy.get(name, {})][-1]
        for metric, title in _PROTECTION.items():
            note = f"by chance: {_privacy_text(row, name, 'dsys_chance')}" if metric == MARK else "cosine, 1: the same"
            yield {"title": f"{name} {title}", "value": _privacy_text(row, name, metric), "note": note}


def _privacy_text(row: Results, benchmark: str, metric: str) -> str:
    values = row.metrics.get(benchmark, {}) | row.privacy.get(benchmark, {})
    text = format_metric(metric, values.get(metric, math.nan))
    return f"{text} %" if is_percentage(metric) and text != DASH else text


def cards_of_runs(results: Sequence[Results]) -> list[dict[str, str]]:
    """The best headline number on each benchmark, and whose it is."""
    cards = []
    for name, metric, values in _headlines(results):
        rows = [row for row in results if row.label in values]
        if rows:
            choose = min if lower_is_better(metric) else max
            best = choose(rows, key=lambda row: row.metrics[name][metric]).label
            cards.append({"title": f"{name} {metric_title(metric)}", "value": values[best], "note": f"best: {best}"})
    for name in gender_names(results):
        attacked = [row for row in results if not math.isnan(row.privacy.get(name, {}).get("bacc", math.nan))]
        if attacked:
            safest = min(attacked, key=lambda row: row.privacy[name]["bacc"])
            value = _privacy_text(safest, name, "bacc")
            cards.append({"title": f"{name} {_GENDER['bacc']}", "value": value, "note": f"least: {safest.label}"})
    return cards


def _headlines(results: Sequence[Results]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name of each benchmark, its first headline metric, and that metric's text by row, where it is known."""
    for name in benchmark_names(results):
        for metric in headline_metrics(results, name)[:1]:
            values = {row.label: row.metrics.get(name, {}).get(metric, math.nan) for row in results}
            unit = " %" if is_percentage(metric) else ""
            texts = {label: f"{format_metric(metric, v)}{unit}" for label, v in values.items() if not math.isnan(v)}
            yield name, metric, texts
