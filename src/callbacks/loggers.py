"""The log that a continued run goes on with, and what a report page sends to loggers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from src.eval.figures.canvas import Figure
from src.eval.results import Results, benchmark_names
from src.eval.table import (
    combination_tables,
    leak_tables,
    metrics_table,
    privacy_summary_table,
    privacy_tables,
    protection_summary_table,
    summary_table,
)

__all__ = ["RunCSVLogger", "log_report"]


class RunCSVLogger(CSVLogger):
    """``metrics.csv`` directly in the run folder, continued when the run is.

    Args:
        run_folder: Folder of the run.
        first_step: Rows of an earlier process with a smaller step are kept; later ones were not reached by the
            checkpoint that the run continues from and are dropped.
    """

    def __init__(self, run_folder: Path | str, first_step: int = 0) -> None:
        super().__init__(run_folder, name="", version="", flush_logs_every_n_steps=1)
        self._first_step = first_step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of ``metrics.csv``."""
        if self._experiment is None:
            path = Path(self.log_dir) / _ExperimentWriter.NAME_METRICS_FILE
            earlier = list(_rows_before(path, self._first_step))
            self._experiment = super().experiment
            self._experiment.metrics.extend(earlier)
        return self._experiment


def _rows_before(path: Path, step: int) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if int(row["step"]) < step]


def log_report(loggers: Sequence[Logger], results: Sequence[Results], figures: Sequence[Figure]) -> None:
    """Send what a report page shows to the loggers that can show it.

    Weights & Biases gets the tables and the figures with their titles, TensorBoard the figures; other loggers nothing.

    Args:
        loggers: Those of the Trainer.
        results: Rows of the report.
        figures: Of the report.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _log_tables(logger, results)
            for figure in figures:
                logger.log_image(f"report/{figure.path.stem}", [str(figure.path)], caption=[figure.title])
        elif isinstance(logger, TensorBoardLogger):
            for figure in figures:
                pixels = np.asarray(Image.open(figure.path).convert("RGB"))
                logger.experiment.add_image(f"report/{figure.path.stem}", pixels, dataformats="HWC")


def _log_tables(logger: WandbLogger, results: Sequence[Results]) -> None:
    privacy_summary, protection_summary = privacy_summary_table(results), protection_summary_table(results)
    tables = {
        "summary": summary_table(results),
        **({"privacy": privacy_summary} if privacy_summary.columns else {}),
        **({"protection": protection_summary} if protection_summary.columns else {}),
        **{f"metrics_{name}": metrics_table(results, name) for name in benchmark_names(results)},
        **{f"flags_{name}": table for name, table in combination_tables(results).items()},
        **{f"privacy_{name}": table for name, table in privacy_tables(results).items()},
        **{f"leaks_{name}": table for name, table in leak_tables(results).items()},
    }
    for name, table in tables.items():
        columns = [table.caption, *(column.replace("\n", " ") for column in table.columns)]
        logger.log_table(f"report/{name}", columns=columns, data=[[row, *texts] for row, texts in table.rows])
