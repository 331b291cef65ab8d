"""The jobs of a multirun side by side: a table, the same as a file, and a report page."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape

from src.apps.finished_run import read_run
from src.apps.sweep import FAILURE
from src.apps.sweep_ranking import RANKING, rank, write_ranking
from src.errors import UserError
from src.eval.metric_format import format_metric
from src.eval.pareto import pareto_front
from src.eval.privacy_table import gender_names
from src.eval.report import Run, write_report
from src.eval.results import RESULTS, Results
from src.eval.table import summary_table
from src.eval.text_table import TextTable, print_table
from src.files import atomic_write

__all__ = ["Job", "columns_of", "is_sweep", "read_jobs", "report_sweep", "sweep_table"]

MULTIRUN = "multirun.yaml"
TABLE = "sweep.csv"

log = logging.getLogger(__name__)
_PRIVACY = {"eer": "EER", "bacc": "guessed", "pic": "PIC"}


@dataclass(frozen=True)
class Job:
    """A job of a multirun.

    Attributes:
        folder: Its folder.
        label: What it sets the swept keys to, such as ``"alpha=20 beta=1"``.
        swept: Swept keys, whole, and their values.
        run: What it measured; None if it failed or is not finished.
        failure: Why there is no ``run``.
    """

    folder: Path
    label: str
    swept: dict[str, str]
    run: Run | None
    failure: str


def is_sweep(folder: Path) -> bool:
    """Whether a folder is that of a multirun."""
    return any((folder / name).is_file() for name in (MULTIRUN, RANKING))  # Optuna's writes no multirun.yaml


def columns_of(folder: Path) -> Mapping[str, str] | None:
    """The columns that a multirun was started with, see `report_sweep`; None if it named none."""
    path = folder / MULTIRUN
    return OmegaConf.select(OmegaConf.load(path), "hydra.callbacks.sweep_report.columns") if path.is_file() else None


def report_sweep(folder: Path, columns: Mapping[str, str] | None = None) -> bool:
    """Print the table of a multirun, the best job first, and name the jobs that failed.

    The table is written as ``sweep.csv``, the order with all metrics as ``sweep.json``; ``figures/sweep.png`` shows the
    monitored metric, see `src.apps.sweep_ranking`, and the report page everything else.

    Args:
        folder: Of the multirun.
        columns: Of the table: by title the metric, as ``BENCHMARK/METRIC`` of the run's result or, of another row of
            the run, ``ROW: BENCHMARK/METRIC``. None: the headline metrics.

    Returns:
        Whether all jobs have results.

    Raises:
        UserError: There are no jobs in it.
    """
    ranking = rank(read_jobs(folder))
    jobs = ranking.jobs
    runs = [*_common_runs(jobs), *(job.run for job in jobs if job.run is not None)]
    if runs:
        _warn_of_unknown(columns or {}, runs)
        results = [replace(run.rows[-1], label=run.label) for run in runs]
        fronts = {name: pareto_front(results, name) for name in gender_names(results)}
        print_table(chosen_table(runs, columns) if columns else sweep_table(results, fronts))
        _write_csv(folder / TABLE, jobs, fronts, columns or {})
        report = write_report(folder / "report" / "index.html", runs, folder / "figures")
        print(f"Table: {folder / TABLE}\nReport: {report.page}")
    plot = write_ranking(folder, ranking)
    if plot is not None:
        print(f"Plot: {plot}")
    if ranking.best is not None:
        print(f"Best by {ranking.metric}: {ranking.best.label} ({ranking.best.folder})")
    failed = [job for job in jobs if job.run is None]
    for job in failed:
        text = f"[bold red]{escape(job.label)}[/bold red] ({job.folder}): {escape(job.failure)}"
        Console(stderr=True).print(text, highlight=False, soft_wrap=True)
    return not failed


def read_jobs(folder: Path) -> list[Job]:
    """Read the jobs of a multirun in their order.

    Raises:
        UserError: There are none, or results cannot be read.
    """
    paths = sorted(folder.glob("*/.hydra/overrides.yaml"), key=lambda path: _number(path.parents[1].name))
    if not paths:
        raise UserError(f"{folder}: expected the folder of a multirun, found no job in it")
    settings = [_settings(path) for path in paths]
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    swept = [key for key in keys if len({setting.get(key) for setting in settings}) > 1]
    names = _short_names(swept)
    jobs = []
    for path, setting in zip(paths, settings, strict=True):
        job = path.parents[1]
        values = {key: setting[key] for key in swept if key in setting}
        label = " ".join(f"{names[key]}={_rounded(value)}" for key, value in values.items()) or job.name
        failure = _failure(job)
        run = None if failure else replace(read_run(job), label=label)
        jobs.append(Job(job, label, values, run, failure))
    return jobs


def _rounded(value: str) -> str:
    """Four digits of a number that has more, as those have that a search draws."""
    try:
        return min(value, f"{float(value):.4g}", key=len)
    except ValueError:
        return value


def sweep_table(results: Sequence[Results], fronts: Mapping[str, Sequence[str]]) -> TextTable:
    """The headline metrics of each row: of a benchmark that attacks gender recognition beside privacy.

    Args:
        results: Rows.
        fronts: By benchmark that attacks gender: labels of the rows on the front, see `src.eval.pareto.pareto_front`.
    """
    others = [replace(row, scores={n: s for n, s in row.scores.items() if n not in fronts}) for row in results]
    headlines = summary_table(others)
    captions = [headlines.caption] if headlines.columns else []
    if fronts:
        captions.append(
            "EER and guessed in %. Guessed: balanced accuracy of gender attackers, 50 is blind guessing. "
            "●: no other row is better in one of the two and as good in the other"
        )
    return TextTable(
        ". ".join(captions),
        [*headlines.columns, *(f"{name}\n{title}" for name in fronts for title in _PRIVACY.values())],
        [
            (label, [*texts, *(text for name, front in fronts.items() for text in _privacy(row, name, label in front))])
            for row, (label, texts) in zip(results, headlines.rows, strict=True)
        ],
    )


def chosen_table(runs: Sequence[Run], columns: Mapping[str, str]) -> TextTable:
    """Some metrics of each run; a dash where it lacks one.

    Args:
        runs: Rows.
        columns: See `report_sweep`.
    """
    return TextTable(
        "Rates in %",
        list(columns),
        [(run.label, [_metric_text(run, path) for path in columns.values()]) for run in runs],
    )


def _warn_of_unknown(columns: Mapping[str, str], runs: Sequence[Run]) -> None:
    for title, path in columns.items():
        if all(math.isnan(_metric(run, path)) for run in runs):
            log.warning("column %s: no run measured %s", title, path)


def _metric_text(run: Run, path: str) -> str:
    metric = path.rpartition("/")[2]
    return format_metric(metric, _metric(run, path))


def _metric(run: Run, path: str) -> float:
    """The metric that a column names, NaN where the run lacks it."""
    label, _, name = path.rpartition(": ")
    benchmark, _, metric = name.partition("/")
    rows = [row for row in run.rows if row.label == label] if label else run.rows[-1:]
    values = [row.metrics.get(benchmark, {}) | row.privacy.get(benchmark, {}) for row in rows]
    return values[0].get(metric, math.nan) if values else math.nan


def _privacy(row: Results, benchmark: str, is_on_front: bool) -> list[str]:
    values = row.metrics.get(benchmark, {}) | row.privacy.get(benchmark, {})
    texts = [format_metric(metric, values.get(metric, math.nan)) for metric in _PRIVACY]
    return [texts[0], f"● {texts[1]}" if is_on_front else texts[1], *texts[2:]]


def _settings(overrides: Path) -> dict[str, str]:
    """Key and value of each override of a job."""
    pairs = (str(line).partition("=") for line in OmegaConf.load(overrides))
    return {key.lstrip("+~"): value for key, _, value in pairs}


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Last part of each key, or the whole where others end like it."""
    last = {key: key.replace("/", ".").rpartition(".")[2] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}


def _failure(job: Path) -> str:
    """Why a job has no results; empty if it has."""
    path = job / FAILURE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return "" if (job / RESULTS).is_file() else "not finished"


def _common_runs(jobs: Sequence[Job]) -> list[Run]:
    """Rows before the last that all jobs have in common, such as the backbone that each of them protects."""
    runs = [job.run for job in jobs if job.run is not None]
    if len(runs) < 2:
        return []
    return [
        replace(runs[0], rows=[row], label=row.label)
        for row in runs[0].rows[:-1]
        if all(any(_measured(row) == _measured(other) for other in run.rows[:-1]) for run in runs)
    ]


def _measured(row: Results) -> tuple[object, ...]:
    # NaN is unequal to itself, its text is not
    return row.label, str(row.metrics), str({name: dict(metrics) for name, metrics in row.privacy.items()})


def _write_csv(
    path: Path, jobs: Sequence[Job], fronts: Mapping[str, Sequence[str]], columns: Mapping[str, str]
) -> None:
    """A line for each job: its folder, what it sets, whether it is on the fronts, the columns and all its metrics."""
    lines = [_line(job, fronts, columns) for job in jobs]
    names = dict.fromkeys(name for line in lines for name in line)
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _line(job: Job, fronts: Mapping[str, Sequence[str]], columns: Mapping[str, str]) -> dict[str, object]:
    line: dict[str, object] = {"job": job.folder.name, **job.swept, "failure": job.failure}
    if job.run is not None:
        row = job.run.rows[-1]
        line |= {f"{name}/pareto_front": int(job.label in front) for name, front in fronts.items()}
        line |= {title: _metric(job.run, path) for title, path in columns.items()}
        for name, metrics in [*row.metrics.items(), *row.privacy.items()]:
            line |= {f"{name}/{metric}": value for metric, value in metrics.items()}
    return line


def _number(name: str) -> tuple[bool, int, str]:
    """Sorts ``10`` after ``9``, and names that are no numbers after them."""
    return (not name.isdigit(), int(name) if name.isdigit() else 0, name)
