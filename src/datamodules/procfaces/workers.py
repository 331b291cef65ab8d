"""Drawing in several processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

import torch

from src.datamodules.procfaces.drawing import Drawer, Photograph, Scene, draw, draw_here
from src.datamodules.procfaces.protocols import Shots
from src.errors import UserError

__all__ = ["drawers"]


@contextmanager
def drawers(processes: int) -> Iterator[Drawer]:
    """Start the processes that draw; the result turns a scene and its shots into photographs, in order.

    Args:
        processes: Number of processes, one thread each; 1 draws in this process.

    Yields:
        A function with the signature of :func:`draw_here`; it raises a `UserError` if a process is killed.
    """
    if processes == 1:
        yield draw_here
        return

    # A fork after torch has started its threads may hang.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare_worker)

    def draw_all(scene: Scene, shots: Shots) -> Iterator[Photograph]:
        try:
            for photographs in executor.map(partial(draw, scene), scene.batches(shots)):
                yield from photographs
        except BrokenProcessPool as error:
            raise UserError(
                "a drawing process was killed, perhaps for want of memory; run again with fewer processes "
                "(finished parts are kept)"
            ) from error

    try:
        yield draw_all
    finally:
        executor.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _keep_memory()


def _leave_with_parent() -> None:
    """End this worker when its parent is killed; it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _keep_memory() -> None:
    """Make glibc keep freed planes instead of returning them to the kernel, which costs up to a third of the time."""
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((trim_threshold, 2**30), (top_pad, 2**28), (mmap_threshold, 2**25)):
            mallopt(option, value)
