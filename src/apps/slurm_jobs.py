"""Jobs of a multirun that SLURM ended: reported as failed, instead of ending the multirun.

submitit raises an error for the first job that was cancelled, ran out of memory or lost its machine. The others would
go on, but nobody would wait for them, and there would be no table.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import submitit
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.slurm import slurm

from src.apps.sweep import FAILURE
from src.files import atomic_write

__all__ = ["SweepJob", "wait_for_all_jobs"]

log = logging.getLogger(__name__)


class SweepJob(submitit.SlurmJob):
    """A job whose failure is kept in its folder of the multirun and returned as None, as `run_job` does it."""

    def results(self) -> list[Any]:
        """Wait for the end of the job; the ``JobReturn`` of each of its processes."""
        try:
            return super().results()
        except (FailedJobError, UncompletedJobError):
            overrides, _, number, *_ = self.submission().args
            message = f"SLURM job {self.job_id} {self._ending()}"
            log.error("#%s: %s", number, message)
            _keep(self._folder_of(overrides, number), overrides, message)
            return [JobReturn(overrides=overrides, status=JobStatus.COMPLETED)]

    def _folder_of(self, overrides: list[str], number: int) -> Path:
        launcher: Any = self.submission().function
        config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, overrides)
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.job.num = number
        return Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)

    def _ending(self) -> str:
        lines = [line.strip() for line in (self.stderr() or "").splitlines() if line.strip()]
        return f"ended as {self.state}" + (f": {lines[-1]}" if lines else " and printed no error")


def wait_for_all_jobs() -> None:
    """Let submitit's launcher use `SweepJob`; for this process, whose only task is a multirun."""
    submitit.SlurmExecutor.job_class = SweepJob
    slurm.SlurmJob = SweepJob  # type: ignore[misc]  # the jobs of an array are made by this name


def _keep(folder: Path, overrides: list[str], message: str) -> None:
    """Leave what the table is made of, unless the job did so itself."""
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True, exist_ok=True)
    if not (hydra / "overrides.yaml").exists():
        OmegaConf.save(OmegaConf.create(overrides), hydra / "overrides.yaml")
    if not (folder / FAILURE).exists():
        with atomic_write(folder / FAILURE, "w") as file:
            file.write(message)
