"""CPU time and memory of steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

__all__ = ["Measured", "cpu_seconds", "in_fresh_process"]


@dataclass
class Measured:
    """What a process took.

    Attributes:
        seconds: CPU seconds of each step, all threads together.
        memory: Highest number of bytes that the process held.
        result: To compare.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    result: Any = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step."""
        start = time.process_time()
        yield
        self.seconds[name] = time.process_time() - start


def in_fresh_process(run: Callable[..., Measured], *arguments: Any) -> Measured:
    """Call a function of a module and measure the memory of the process, imports included."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_run, run, arguments).result()


def _run(run: Callable[..., Measured], arguments: tuple[Any, ...]) -> Measured:
    measured = run(*arguments)
    # Unlike ru_maxrss it leaves out what the parent held when it started this process.
    status = Path("/proc/self/status").read_text().splitlines()
    measured.memory = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    return measured


def cpu_seconds(step: Callable[[], object], repeats: int) -> float:
    """Median CPU seconds of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)
