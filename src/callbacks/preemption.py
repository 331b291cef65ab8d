"""A run that is told to leave its machine: it saves itself, goes back into the queue and is continued later."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

__all__ = ["Preemption"]

log = logging.getLogger(__name__)

_REQUEUE = frozenset({signal.SIGUSR1, signal.SIGUSR2})
"""What SLURM sends before it takes the machine away (``--signal``). They mean: save and queue again."""

_AGREE_EVERY = 10
"""Batches between two questions to the other processes, each of which waits for all of them."""

_SECONDS_UNTIL_KILLED = 900


class Preemption(Checkpoint):
    """Saves ``last.ckpt`` and ends the process when a signal asks for it.

    ``SIGUSR1`` and ``SIGUSR2``, which SLURM sends before a time limit or for a job of higher priority, save the run and
    put its job back into the queue; `src.apps.restart.continue_if_restarted` then goes on from the checkpoint.
    ``SIGTERM`` saves and ends without queueing again: it is what ``scancel`` and SLURM's own requeue send. Outside
    SLURM the process ends with exit status 128 + signal, as is usual; inside it waits to be ended by SLURM, so that
    nobody takes the half-done job for a finished one.

    Nothing is saved inside a signal handler, which may run between a backward pass and its step or between the two
    networks of a GAN. The signal is noted, and acted upon after the first batch at whose end all processes know of it
    and the optimisers have stepped; gradients that are still being accumulated are in no checkpoint. It is not the last
    batch of an epoch: the validation that follows would be missing from the run. The end of that
    batch is logged before the process leaves, so that ``metrics.csv`` has every row.

    SLURM signals every process of a job. The signals that queue again are blocked while the run trains: the processes
    that it starts, such as those that load images, inherit that, and are not killed by them.

    Lightning's own handlers of the same signals, its automatic requeue among them, are replaced.

    It is a ``Checkpoint`` for Lightning to call it after all other callbacks.

    Args:
        folder: For ``last.ckpt``.
    """

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder) / "last.ckpt"
        self._received: int | None = None
        self._leaving: int | None = None
        self._step = 0
        self._blocked_before: set[signal.Signals] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Block the signals, before any process is started that loads images."""
        self._received = self._leaving = None
        self._blocked_before = {signal.Signals(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, _REQUEUE)}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over from Lightning's handlers; Lightning restores at its end what was before both."""
        self._step = trainer.global_step
        for signum in (*_REQUEUE, signal.SIGTERM):
            signal.signal(signum, self._note)  # threads that are older than the block receive the signals too

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if a process was told to leave."""
        has_stepped, self._step = trainer.global_step != self._step, trainer.global_step
        is_due = trainer.world_size == 1 or batch_idx % _AGREE_EVERY == 0
        if not (has_stepped and is_due) or self._leaving is not None or _is_last(trainer):
            return
        self._leaving = self._agreed(trainer)
        if self._leaving is not None:
            trainer.save_checkpoint(self._path)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave: the batch before this one is saved and logged."""
        self._leave_if_saved(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave before a validation in the midst of an epoch, which may take longer than there is time."""
        self._leave_if_saved(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave if told so after the last batch; what comes now is evaluated from ``last.ckpt``."""
        self._leaving = self._leaving or self._agreed(trainer)
        self._leave_if_saved(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the signals through again."""
        self._unblock()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Let the signals through again."""
        self._unblock()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._received = signum

    def _agreed(self, trainer: L.Trainer) -> int | None:
        """The signal that this or, if none, another process received; the same None for all of them otherwise."""
        pending = signal.sigpending() & _REQUEUE
        received = self._received or next(iter(pending), None)
        # Only one process may have been told, or one of them to queue again and another to end.
        requeues = trainer.strategy.reduce_boolean_decision(received in _REQUEUE, all=False)
        ends = trainer.strategy.reduce_boolean_decision(received == signal.SIGTERM, all=False)
        if ends:
            return signal.SIGTERM
        return (received or signal.SIGUSR2) if requeues else None

    def _leave_if_saved(self, trainer: L.Trainer) -> None:
        if self._leaving is None:
            return
        name = signal.Signals(self._leaving).name
        for logger in trainer.loggers:
            logger.finalize("preempted")
        if "SLURM_JOB_ID" in os.environ:
            log.warning("%s: saved %s at step %d", name, self._path, trainer.global_step)
            trainer.strategy.barrier()
            if trainer.is_global_zero and self._leaving in _REQUEUE and not _requeue():
                raise SystemExit(128 + self._leaving)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(_SECONDS_UNTIL_KILLED)
        elif trainer.is_global_zero:
            log.warning("%s: saved %s at step %d. ckpt_path=last continues", name, self._path, trainer.global_step)
        raise SystemExit(128 + self._leaving)

    def _unblock(self) -> None:
        if self._blocked_before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked_before)
            self._blocked_before = None


def _is_last(trainer: L.Trainer) -> bool:
    """Whether this batch ends an epoch or the training: continued from here, a run would skip the validation then."""
    return trainer.is_last_batch or trainer.global_step == trainer.max_steps


def _requeue() -> bool:
    """Ask SLURM to queue this job again; it ends the processes of the job soon after."""
    job, task = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID")
    if task is not None:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = re.sub(r"\s+", " ", getattr(error, "stderr", "") or str(error)).strip()
        log.error("scontrol requeue %s failed: %s. Submit the job again; ckpt_path=last continues the run", job, reason)
        return False
    log.warning("job %s is in the queue again", job)
    return True
