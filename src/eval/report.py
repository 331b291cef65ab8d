"""The report page of one or several runs: one HTML file that needs nothing beside it, no network, no JavaScript."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from src.eval.figures.canvas import Figure, read_figure
from src.eval.figures.draw import benchmark_figures, overview_figures, privacy_figures
from src.eval.figures.pairs import hard_pairs_path
from src.eval.figures.training import training_figures
from src.eval.report_cards import cards_of_rows, cards_of_runs
from src.eval.results import Results, benchmark_names, privacy_names
from src.eval.table import (
    TextTable,
    combination_tables,
    leak_tables,
    metrics_table,
    privacy_summary_table,
    privacy_tables,
    protection_summary_table,
    summary_table,
)
from src.files import atomic_write

__all__ = ["IMAGES", "Report", "Run", "write_report"]

IMAGES = "images_{}.png"
"""Pictures of this name in a run's ``figures/`` are shown in its report, e.g. some training images."""


@dataclass(frozen=True)
class Run:
    """A run to report on.

    Attributes:
        folder: Its folder. ``metrics.csv`` and the pictures in ``figures/`` that evaluation or training left are shown.
        rows: At least one, e.g. untrained and trained; the last one is the run's result.
        command: The command line that made it; empty if it is not known.
        config_text: Its config as YAML; empty if it is not known.
        label: Its name beside other runs; empty for that of its folder.
    """

    folder: Path
    rows: Sequence[Results]
    command: str
    config_text: str
    label: str = ""


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        page: The HTML file.
        results: Rows of its tables.
        figures: Its figures in reading order.
    """

    page: Path
    results: list[Results]
    figures: list[Figure]


@dataclass(frozen=True)
class _Section:
    name: str
    figures: list[Figure]
    tables: list[TextTable]
    metrics: TextTable


def write_report(page: Path, runs: Sequence[Run], figures: Path) -> Report:
    """Draw the figures of ``runs`` and write their report page.

    Of a single run all rows are shown; several runs stand side by side with the last row of each, named by its folder.

    Args:
        page: HTML file to write.
        runs: At least one.
        figures: Folder for the figures.
    """
    results = list(runs[0].rows) if len(runs) == 1 else _side_by_side(runs)
    combinations = combination_tables(results)
    sections = [
        _Section(
            name,
            [*benchmark_figures(figures, name, results), *_hard_pairs(runs, results, name)],
            [combinations[name]] if name in combinations else [],
            metrics_table(results, name),
        )
        for name in benchmark_names(results)
    ]
    overview = overview_figures(figures, results)
    privacy, protection = _privacy(results, figures)
    training = _training(runs[0], figures) if len(runs) == 1 else []
    images = _pictures(runs[0]) if len(runs) == 1 else []
    sections = [section for section in sections if section.metrics.rows]
    html = _template().render(
        heading=results[-1].experiment if len(runs) == 1 else f"{len(runs)} runs side by side",
        results=results,
        cards=cards_of_rows(results) if len(runs) == 1 else cards_of_runs(results),
        summary=summary_table(results),
        overview=overview,
        sections=sections,
        privacy_summary=privacy_summary_table(results),
        privacy=privacy,
        protection_summary=protection_summary_table(results),
        protection=protection,
        training=training,
        images=images,
        environment=_environment(results if len(runs) > 1 else results[-1:]),
        runs=[(row.label, run) for run, row in zip(runs, results[-len(runs) :], strict=True)],
    )
    with atomic_write(page, "w") as file:
        file.write(html)
    of_benchmarks = [figure for section in [*privacy, *protection, *sections] for figure in section.figures]
    return Report(page, results, [*overview, *of_benchmarks, *training, *images])


def _privacy(results: Sequence[Results], figures: Path) -> tuple[list[_Section], list[_Section]]:
    """A section for each benchmark that attacks embeddings, and for each that attacks protected templates."""
    details, leaks = privacy_tables(results), leak_tables(results)
    sections = {
        name: _Section(
            name,
            privacy_figures(figures, name, results),
            [leaks[name]] if name in leaks else [],
            details[name],
        )
        for name in privacy_names(results)
    }
    return (
        [section for name, section in sections.items() if name not in leaks],
        [section for name, section in sections.items() if name in leaks],
    )


def _side_by_side(runs: Sequence[Run]) -> list[Results]:
    names = [run.label or run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs]
    return [replace(run.rows[-1], label=name) for run, name in zip(runs, names, strict=True)]


def _hard_pairs(runs: Sequence[Run], results: Sequence[Results], benchmark: str) -> list[Figure]:
    """Pictures that evaluation left in the folders of ``runs``; beside others each is titled with its run."""
    if len(runs) == 1:
        paths = [hard_pairs_path(runs[0].folder / "figures", benchmark, row.label) for row in results]
        return [read_figure(path) for path in paths if path.exists()]
    figures = []
    for run, result in zip(runs, results, strict=True):
        path = hard_pairs_path(run.folder / "figures", benchmark, run.rows[-1].label)
        if path.exists():
            figure = read_figure(path)
            figures.append(
                replace(figure, title=f"{result.label}, {figure.title}", alt=f"{result.label}. {figure.alt}")
            )
    return figures


def _training(run: Run, figures: Path) -> list[Figure]:
    metrics_csv = run.folder / "metrics.csv"
    return training_figures(figures, metrics_csv) if metrics_csv.exists() else []


def _pictures(run: Run) -> list[Figure]:
    return [read_figure(path) for path in sorted((run.folder / "figures").glob(IMAGES.format("*")))]


def _environment(results: Sequence[Results]) -> dict[str, list[str]]:
    """Circumstances of each row; a single text where all of them agree."""
    entries = [
        {
            "experiment": row.experiment,
            "checkpoint": row.checkpoint,
            "evaluation": f"{row.seconds:.1f} s",
            **row.environment,
        }
        for row in results
    ]
    columns = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        texts = ["—" if entry.get(name) is None else str(entry[name]) for entry in entries]
        columns[name.replace("_", " ")] = texts[:1] if len(set(texts)) == 1 else texts
    return columns


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("src.eval"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embed"] = _embed
    return environment.get_template("report.html.j2")


def _embed(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
