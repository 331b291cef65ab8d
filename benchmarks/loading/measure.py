"""One loader measured in a process of its own: speed, time to the first batch, memory."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.loading.images import BATCH, IMAGES

__all__ = ["LIMIT", "Measurement", "held_memory", "measure", "memory_over_epochs"]

LIMIT = "libjpeg-turbo alone"


@dataclass(frozen=True)
class Measurement:
    """One epoch.

    Attributes:
        images_per_second: After the first batch.
        images_per_cpu_second: The same over the CPU time of all processes.
        start: Seconds from opening the data to the first batch, without imports.
        memory: Bytes held by all processes in mid-epoch above those before opening the data, shared pages split.
    """

    images_per_second: float
    images_per_cpu_second: float
    start: float
    memory: int


def measure(name: str, root: Path, workers: int) -> Measurement:
    """Measure a loader of ``LOADERS``, or the limit, in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_measure, name, root, workers).result()


def _measure(name: str, root: Path, workers: int) -> Measurement:
    import torch

    from benchmarks.loading.loaders import LOADERS, limit

    torch.set_num_threads(1)
    before = held_memory()
    begin = time.perf_counter()
    batches = (limit if name == LIMIT else LOADERS[name])(root, workers)
    next(batches)
    start = time.perf_counter() - begin
    begin, cpu = time.perf_counter(), _cpu_seconds()
    images = memory = 0
    for number, size in enumerate(batches):
        images += size
        if number == IMAGES // BATCH // 2:
            memory = held_memory() - before
    seconds = time.perf_counter() - begin
    # Loader processes that have ended count from here on.
    return Measurement(images / seconds, images / max(_cpu_seconds() - cpu, 1e-9), start, memory)


def memory_over_epochs(name: str, root: Path, workers: int, epochs: int) -> list[int]:
    """Bytes held after each of several epochs in one process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_memory_over_epochs, name, root, workers, epochs).result()


def _memory_over_epochs(name: str, root: Path, workers: int, epochs: int) -> list[int]:
    from benchmarks.loading.loaders import LOADERS, Ours

    chosen = LOADERS[name]
    assert isinstance(chosen, Ours)
    loader = chosen.open(root, workers)
    held = []
    for _ in range(epochs):
        for _ in loader:
            pass
        held.append(held_memory())
    return held


def held_memory() -> int:
    """Proportional set size of this process and its children in bytes."""
    return sum(_proportional_set_size(pid) for pid in _family())


def _proportional_set_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _cpu_seconds() -> float:
    """CPU time of this process and its children, ended or not."""
    total = sum(os.times()[:4])
    for pid in _family()[1:]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _family() -> list[int]:
    """This process and its living children."""
    mine = os.getpid()
    children: list[int] = []
    for task in Path(f"/proc/{mine}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            children += map(int, (task / "children").read_text().split())
    return [mine, *children]
