"""What protected templates give away, as tables: in numbers, and in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from src.eval.metric_format import DASH, format_metric
from src.eval.results import Results, privacy_names
from src.eval.text_table import TextTable

__all__ = ["MARK", "leak_tables", "protection_names", "protection_summary_table"]

MARK = "dsys_identifier"
"""Metric that tells an analysis of protected templates from other privacy evaluations."""

_COLUMNS = {
    MARK: "linked,\ntemplates",
    "dsys_chance": "linked,\nby chance",
    "dsys_stores": "linked,\nboth stores",
    "renewed_passes": "renewal\nworks",
    "templates_cos": "rebuilt,\ntemplates",
    "gradient_cos": "rebuilt,\nboth stores",
    "accepted_fresh@1e-3": "passes\nelsewhere, %",
    "guess_bits_freedom": "bits\nto guess",
}
_LINK_MARGIN = 0.02  # of D_sys above chance that still counts as chance


def protection_names(results: Sequence[Results]) -> list[str]:
    """Names of the benchmarks that attack protected templates of any of the ``results``, of the last one first."""
    return [name for name in privacy_names(results) if any(MARK in row.privacy.get(name, {}) for row in results)]


def protection_summary_table(results: Sequence[Results]) -> TextTable:
    """Linking, renewing, inverting and guessing: a row for each of the ``results`` whose templates were attacked.

    Args:
        results: At least one.
    """
    names = protection_names(results)
    rows = [(row, name) for row in results for name in names if MARK in row.privacy.get(name, {})]
    return TextTable(
        "Linked: D_sys, 0 never, 1 always. Rebuilt: cosine of true embeddings and those made of what was stolen. "
        "Passes elsewhere: share of these taken for the person by a system with another projection, at 0.1 % false "
        "accepts. Bits to guess: log2 of the tries until a code like those of faces is taken for a given person",
        list(_COLUMNS.values()) if rows else [],
        [
            (
                f"{row.label}, {name}" if len(names) > 1 else row.label,
                [format_metric(metric, row.privacy[name].get(metric, math.nan)) for metric in _COLUMNS],
            )
            for row, name in rows
        ],
    )


def leak_tables(results: Sequence[Results]) -> dict[str, TextTable]:
    """By benchmark: what a thief of each part of the system learns, in plain words, of the last row that tells."""
    tables = {}
    for name in protection_names(results):
        row = [row for row in results if MARK in row.privacy.get(name, {})][-1]
        tables[name] = TextTable(
            f"What a leak gives away, measured on {name} ({row.label})",
            ["what its thief learns"],
            [(leak, [text]) for leak, text in _leaks(row.privacy[name]).items()],
            prose=True,
        )
    return tables


def _leaks(metrics: Mapping[str, float]) -> dict[str, str]:
    def told(name: str) -> str:
        return format_metric(name, metrics.get(name, math.nan))

    def share(name: str) -> str:
        value = metrics.get(name, math.nan)
        return DASH if math.isnan(value) else f"{100 * value:.4g} %"

    def linked(name: str) -> str:
        return f"D_sys {told(name)}, by chance {told('dsys_chance')}"

    def verdict(name: str) -> str:
        above = metrics.get(name, math.nan) - metrics.get("dsys_chance", math.nan)
        return "Nothing: templates of one person are not linked" if above < _LINK_MARGIN else "They link a person"

    most = max((name for name in metrics if name.startswith("records_cos@")), key=_records, default="")
    renewed = "is worth nothing" if metrics.get("renewed_passes") else "STILL TELLS whose it is"
    return {
        "the network alone": (
            f"Nothing about anyone. A stranger's face is taken for a given person once in {_tries(metrics)} tries at "
            f"the threshold for false accepts of 0.1 %; a typical face has a cosine of {told('typical_cos')} to a "
            "given one."
        ),
        "templates alone": (
            f"{verdict(MARK)} ({linked(MARK)}), and what is rebuilt from them has a cosine of {told('templates_cos')} "
            "to the true embedding."
        ),
        "identifiers alone": "Nothing: they are drawn at random, without looking at a face.",
        "an old template whose identifier was renewed": (
            f"It {renewed}: D_sys {told('dsys_renewed')}, by chance {told('dsys_renewed_chance')}. Under the new "
            f"identifier {share('renewed_equal')} of the scores are what they were."
        ),
        "templates, where an identifier was used twice": (
            f"{verdict('dsys_identifier_reused')} ({linked('dsys_identifier_reused')}): the identifier cancels. Stores "
            "refuse to use one again."
        ),
        "templates and identifiers": (
            f"The codes. Across systems that share the network, {verdict('dsys_stores').lower()} "
            f"({linked('dsys_stores')})."
        ),
        "the same, but lookup tables stay secret": (
            f"One table for all positions: {verdict('dsys_lut_shared_relabelled').lower()} by renaming symbols "
            f"({linked('dsys_lut_shared_relabelled')}). A table for each position: "
            f"{verdict('dsys_lut_position').lower()} ({linked('dsys_lut_position')})."
        ),
        "templates, identifiers and the network": (
            "Faces as the network sees them: rebuilt embeddings have a cosine of "
            f"{told('gradient_cos')} to the true ones. {share('accepted@1e-3')} of them are accepted for the stolen "
            f"template, {share('accepted_fresh@1e-3')} for another image of the person in a system with another "
            f"projection, where true images pass in {share('genuine_fresh@1e-3')} (false accepts: 0.1 %)."
        ),
        f"all that of {_records(most)} systems": f"More exact embeddings: a cosine of {told(most)} to the true ones.",
        "the master key of the identifiers": (
            "Nothing by itself. With the identifiers' and the templates' folders the codes, with the network too the "
            "embeddings: no more than these give where identifiers are stored."
        ),
    }


def _records(name: str) -> int:
    return int(name.partition("@")[2] or 0)


def _tries(metrics: Mapping[str, float]) -> str:
    bits = metrics.get("false_accept_bits", math.nan)
    return DASH if math.isnan(bits) else f"{2**bits:,.0f}"
