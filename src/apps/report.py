"""``privface report``: the report page of one run, or of several side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from src.errors import UserError
from src.eval.report import Run, write_report
from src.eval.results import RESULTS, read_run_results
from src.eval.table import print_results

__all__ = ["read_run", "run"]


def run(runs: Sequence[str], out: str | None) -> None:
    """Draw the page from the results files of ``runs``, print the table and the page's path.

    Args:
        runs: Folders of runs.
        out: Folder for the page and its figures. By default a single run's own, where ``train.py`` and ``eval.py``
            write them, and ``report`` for several.

    Raises:
        UserError: A folder is missing, holds no results, or holds results that cannot be read.
    """
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


def read_run(folder: Path) -> Run:
    """Read what a report tells of a run from its folder.

    Raises:
        UserError: There are no results, or they cannot be read.
    """
    if not (folder / RESULTS).is_file():
        missing = f"holds no {RESULTS}" if folder.is_dir() else "is not a folder"
        raise UserError(
            f"{folder}: {missing}; expected the folder of a finished run. train.py writes its results at the end "
            "(ckpt_path=last continues a run), and eval.py those of a checkpoint into a folder of its own."
        )
    config = folder / ".hydra" / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    return Run(folder, read_run_results(folder), _command(folder / ".hydra"), text)


def _command(hydra: Path) -> str:
    """The command line of a run, from what Hydra keeps of it."""
    try:
        job = OmegaConf.load(hydra / "hydra.yaml").hydra.job.config_name
        overrides = OmegaConf.load(hydra / "overrides.yaml")
    except FileNotFoundError:
        return ""
    return shlex.join(["python", f"{job}.py", *map(str, overrides)])
