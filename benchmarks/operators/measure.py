"""Time of operators against the formulation they replace, and the memory of a step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from rich.table import Table

__all__ = ["Case", "Row", "measure", "peak_memory", "table"]

WARM_UPS = 2


@dataclass(frozen=True)
class Case:
    """An operation, done in two ways.

    Attributes:
        name: For the table, with the shape.
        ours: Called without arguments; what it returns is dropped.
        reference: The same by the formulation that peers use.
        moved_bytes: Bytes that have to be read and written at least; without it no share of the memory speed is given.
        target: Least ratio of the reference's time to ours, or none.
        device: ``"cpu"`` counts the CPU time of this thread, ``"cuda"`` the time between two events of the stream.
    """

    name: str
    ours: Callable[[], object]
    reference: Callable[[], object]
    moved_bytes: int | None = None
    target: float | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Row:
    """A case measured.

    Attributes:
        case: What was measured.
        ours: Median seconds.
        reference: Median seconds.
        memory_speed: Time to copy as many bytes as the case has to move, over our time.
    """

    case: Case
    ours: float
    reference: float
    memory_speed: float | None

    @property
    def ratio(self) -> float:
        """How many times faster than the reference."""
        return self.reference / self.ours


def measure(cases: Iterable[Case], rounds: int = 5) -> list[Row]:
    """Measure each case with one thread, its two ways taking turns, and take medians."""
    torch.set_num_threads(1)
    return [_measure(case, rounds) for case in track(list(cases), "measuring", transient=True)]


def _measure(case: Case, rounds: int) -> Row:
    steps = [case.ours, case.reference]
    if case.moved_bytes is not None:
        source = torch.zeros(case.moved_bytes // 2, dtype=torch.uint8, device=case.device)
        steps.append(partial(torch.zeros_like(source).copy_, source))
    runs = list(_runs(steps, rounds, _cuda_seconds if case.device == "cuda" else _cpu_seconds))
    ours, reference, *copy = (statistics.median(column) for column in zip(*runs, strict=True))
    return Row(case, ours, reference, copy[0] / ours if copy else None)


def _runs(
    steps: list[Callable[[], object]], rounds: int, seconds: Callable[[Callable[[], object], int], float]
) -> Iterator[list[float]]:
    """Seconds per call of every step, once a round; short steps are repeated for 20 ms."""
    for _ in range(WARM_UPS):
        first = [seconds(step, 1) for step in steps]
    repeats = [max(1, min(1000, round(20e-3 / max(once, 1e-6)))) for once in first]
    for _ in range(rounds):
        yield [seconds(step, count) for step, count in zip(steps, repeats, strict=True)]


def _cpu_seconds(step: Callable[[], object], repeats: int) -> float:
    start = time.thread_time()
    for _ in range(repeats):
        step()
    return (time.thread_time() - start) / repeats


def _cuda_seconds(step: Callable[[], object], repeats: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000 / repeats


def table(title: str, rows: Iterable[Row]) -> Table:
    """Times in milliseconds, ratios, and whether the targets were met."""
    view = Table("case", title=title)
    for heading in ("reference, ms", "ours, ms", "ratio", "of copy speed", "target"):
        view.add_column(heading, justify="right")
    for row in rows:
        share = "" if row.memory_speed is None else f"{100 * row.memory_speed:.0f} %"
        view.add_row(
            row.case.name,
            f"{1e3 * row.reference:.3f}",
            f"{1e3 * row.ours:.3f}",
            f"{row.ratio:.2f}x",
            share,
            _target(row),
        )
    return view


def _target(row: Row) -> str:
    if row.case.target is None:
        return ""
    met = row.ratio >= row.case.target
    return f"{row.case.target:g}x [{'green]met' if met else 'red]missed'}[/]"


def peak_memory(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> int:
    """Bytes that a step needs at its peak beyond what its process held before, measured in a fresh process.

    Args:
        prepare: A function of a module, called in the process with ``arguments``; returns the step.
        arguments: Of ``prepare``, picklable.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_peak_memory, prepare, arguments).result()


def _peak_memory(prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> int:
    torch.set_num_threads(1)
    step = prepare(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew from here
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
