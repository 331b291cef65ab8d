"""The jobs of a multirun, and what happens around them. Nothing here imports torch: Hydra loads it with the config."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from src.apps.user_errors import explain, user_errors
from src.errors import UserError
from src.files import atomic_write

__all__ = ["FAILURE", "SweepReport", "run_job"]

FAILURE = "failure.txt"
"""File in a job's folder that says why the job failed."""

log = logging.getLogger(__name__)


class SweepReport(Callback):
    """Ends a multirun with one table of its jobs, see `src.apps.sweep_report.report_sweep`; a single run is left alone.

    The exit status of the process is 1 if a job failed.

    Args:
        columns: See there.
    """

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self._columns = columns

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Have jobs that SLURM ends reported, too."""
        if "submitit" in config.hydra.launcher._target_:
            from src.apps.slurm_jobs import wait_for_all_jobs

            wait_for_all_jobs()

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Close the job's W&B run: the next job of this process would be logged to it."""
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report what the jobs left in the folder of the multirun."""
        from src.apps.sweep_report import report_sweep

        with user_errors():
            is_complete = report_sweep(Path(config.hydra.sweep.dir), self._columns)
        if not is_complete:
            raise SystemExit(1)


def run_job(task: Callable[[DictConfig], Any], config: DictConfig) -> Any:
    """Run one job of a multirun; one that fails does not keep the others from being run and reported.

    Its failure is told, kept in its folder as `FAILURE`, and returned as None: Hydra would run no further job after
    `SystemExit`, and would not call `SweepReport` after an exception. So is a task's NaN, which would end a search by
    Optuna; None is a failed trial to it.

    Args:
        task: Called with ``config``.
        config: Of the job.
    """
    job = HydraConfig.get()
    failure = Path(job.runtime.output_dir) / FAILURE
    failure.unlink(missing_ok=True)
    try:
        with _as_if_typed_alone(job):
            value = task(config)
        return None if isinstance(value, float) and math.isnan(value) else value
    except Exception as error:
        is_mistake = isinstance(error, UserError | InstantiationException)
        message = explain(error) if is_mistake else f"{type(error).__name__}: {error}"
        log.error("%s", message, exc_info=not is_mistake or bool(os.environ.get("HYDRA_FULL_ERROR")))
        with atomic_write(failure, "w") as file:
            file.write(message)
        return None


@contextmanager
def _as_if_typed_alone(job: Any) -> Iterator[None]:
    """A command line and a run folder of the job's own, and no process group left behind.

    Lightning starts the processes of further devices by the command line, as Hydra's config and the environment have
    it: with those of the multirun each process would begin a multirun, and the second job find no processes.
    """
    arguments, environment = list(sys.argv), dict(os.environ)
    typed = [*job.overrides.task, *(line for line in job.overrides.hydra if not line.startswith("hydra.mode="))]
    mode = [] if "hydra.mode=MULTIRUN" in job.overrides.hydra else ["hydra.mode=RUN"]
    sys.argv[1:] = [*typed, *mode]
    with read_write(job):
        job.run.dir = job.runtime.output_dir
    try:
        yield
    finally:
        sys.argv[:] = arguments
        os.environ.clear()
        os.environ.update(environment)
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_initialized():
            distributed.destroy_process_group()
