"""Preparing the parts of a data set in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import numpy as np
import torch

from src.datamodules.decode import BadImage
from src.datamodules.preparation.journal import Journal
from src.datamodules.preparation.receipt import Receipt
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import FaceTransform, PreparedFace
from src.datamodules.sources.source import FaceSource
from src.errors import UserError

__all__ = ["Job", "Stopped", "check_bad", "verify_part", "work_on", "write_part"]

_CONTEXT = multiprocessing.get_context("forkserver")


class Stopped(Exception):
    """The work was called off."""


@dataclass(frozen=True)
class Job:
    """What the processes share.

    Attributes:
        source: The collection.
        transform: What becomes of its images.
        target: Where they go.
        max_bad: Largest number of unreadable images that is tolerated.
        seen: Number of images that all processes have dealt with.
        stop: Calls the work off.
    """

    source: FaceSource
    transform: FaceTransform
    target: Target
    max_bad: int
    seen: Synchronized
    stop: Event

    @classmethod
    def new(cls, source: FaceSource, transform: FaceTransform, target: Target, max_bad: int) -> Job:
        """A job with nothing done."""
        return cls(source, transform, target, max_bad, _CONTEXT.Value("q", 0), _CONTEXT.Event())


_job: Job


@contextmanager
def work_on(job: Job, processes: int) -> Iterator[Executor]:
    """Start the processes of a job; 1 works in a thread of this process. All have ended when the block is left.

    Args:
        job: For `write_part` and `verify_part`, which are to be submitted.
        processes: Number of processes, one thread each.
    """
    executor: Executor
    if processes == 1:
        executor = ThreadPoolExecutor(1, initializer=_set_job, initargs=(job,))
    else:
        # The server imports torch once, and its forks share that memory; a fork of this process may hang.
        _CONTEXT.set_forkserver_preload([__name__])
        executor = ProcessPoolExecutor(processes, _CONTEXT, initializer=_start_process, initargs=(job,))
    try:
        yield executor
    except BaseException:
        job.stop.set()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _set_job(job: Job) -> None:
    global _job
    _job = job


def _start_process(job: Job) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        # The parent handles them. Ignored signals, unlike handlers, would be inherited by the commands of a pipe.
        signal.signal(signum, lambda *_: None)
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _set_job(job)


def _leave_with_parent() -> None:
    """End this process when its parent is killed; it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def write_part(number: int, rows: np.ndarray) -> Receipt:
    """Prepare and write a part in a process of `work_on`, and record it in the journal.

    Args:
        number: Of the part.
        rows: int64 [n], its rows in the source.

    Raises:
        Stopped: The work was called off.
        UserError: Too many images cannot be read.
    """
    part = _Part(_job, rows)
    receipt = _job.target.write_part(number, part.faces())
    side = part.sides.pop() if len(part.sides) == 1 else 0
    receipt = replace(receipt, side=side, degenerate=part.degenerate, skipped=part.skipped)
    Journal(_job.target.work).record(receipt)
    return receipt


def verify_part(receipt: Receipt) -> bool:
    """Whether a finished part is still as it was written; runs in a process of `work_on`."""
    if _job.stop.is_set():
        raise Stopped
    return _job.target.verify(receipt)


def check_bad(source: FaceSource, skipped: Sequence[tuple[str, str]], max_bad: int) -> None:
    """Raise UserError if more than `max_bad` images were skipped."""
    if len(skipped) > max_bad:
        first = "".join(f"\n  {key}: {reason}" for key, reason in skipped[:5])
        raise UserError(
            f"{source.name}: more than {max_bad} of {len(source)} images cannot be read, the first are:{first}\n"
            "Mend them, or set max_bad_fraction to what you tolerate."
        )


class _Part:
    """Makes the samples of a part and keeps account of them."""

    def __init__(self, job: Job, rows: np.ndarray) -> None:
        self.job = job
        self.rows = rows
        self.skipped: list[tuple[str, str]] = []
        self.sides: set[int] = set()
        self.degenerate = 0

    def faces(self) -> Iterator[PreparedFace]:
        source = self.job.source
        for row in self.rows.tolist():
            if self.job.stop.is_set():
                raise Stopped
            try:
                face = self.job.transform.apply(source, row)
            except BadImage as error:
                self.skipped.append((source.key(row), str(error)))
                check_bad(source, self.skipped, self.job.max_bad)
            else:
                self.sides.add(face.side)
                self.degenerate += face.degenerate
                yield face
            with self.job.seen:
                self.job.seen.value += 1
