"""``privface report``: the report page of one run, of several side by side, or of a multirun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from src.apps.finished_run import read_run
from src.apps.sweep_report import columns_of, is_sweep, report_sweep
from src.errors import UserError
from src.eval.report import write_report
from src.eval.table import print_results

__all__ = ["run"]


def run(runs: Sequence[str], out: str | None) -> None:
    """Draw the page from the results files of ``runs``, print the table and the page's path.

    Args:
        runs: Folders of runs; or one of a multirun, whose jobs are reported as at its end.
        out: Folder for the page and its figures. By default a single run's own, where ``train.py`` and ``eval.py``
            write them, and ``report`` for several.

    Raises:
        UserError: A folder is missing, holds no results, or holds results that cannot be read.
    """
    if len(runs) == 1 and is_sweep(Path(runs[0])):
        report_sweep(Path(runs[0]), columns_of(Path(runs[0])))
        return
    read = [read_run(Path(folder)) for folder in runs]
    if not read:
        raise UserError("runs: expected at least one folder, e.g. privface report runs/demo")
    if out is None and len(read) == 1:
        folder = read[0].folder
        report = write_report(folder / "report" / "index.html", read, folder / "figures")
    else:
        folder = Path(out or "report")
        report = write_report(folder / "index.html", read, folder / "figures")
    print_results(report.results)
    print(f"Report: {report.page}")
