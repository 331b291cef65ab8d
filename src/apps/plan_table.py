"""How a plan of a training is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from src.models.planning.hardware import Cluster
from src.models.planning.prediction import Job, Prediction

__all__ = ["print_plan"]


def print_plan(
    console: Console, title: str, job: Job, cluster: Cluster, predicted: Prediction, advice: Sequence[str]
) -> None:
    """Print memory, communication, time, and data with checkpoints, each as a table, and a verdict.

    Args:
        console: Where to.
        title: What is planned, and on what.
        job: The training.
        cluster: Where it runs.
        predicted: About it.
        advice: Overrides of which each makes it fit.
    """
    console.print(f"[bold]{title}[/bold]  predicted from counts and vendors' figures", highlight=False)
    console.print(_memory(predicted))
    if predicted.collectives:
        console.print(_communication(cluster, predicted))
    console.print(_time(job, cluster, predicted))
    console.print(_storage(predicted))
    for line in _verdict(predicted, advice):
        console.print(line, highlight=False, soft_wrap=True)


def _memory(predicted: Prediction) -> Table:
    table = _table("memory of a process", "bytes")
    for name, size in predicted.memory.items():
        if size:
            table.add_row(name, decimal(size))
    table.add_section()
    table.add_row("together", decimal(predicted.memory_total))
    table.add_row("of a GPU, without the reserve", decimal(predicted.capacity))
    return table


def _communication(cluster: Cluster, predicted: Prediction) -> Table:
    table = _table("communication of a step", "what", "payload", "sent by each", "ms", "")
    for collective in predicted.collectives:
        table.add_row(
            collective.name,
            collective.kind.replace("_", "-"),
            decimal(collective.payload),
            decimal(round(collective.sent(cluster.processes))),
            f"{1000 * collective.seconds(cluster):.2f}",
            "beside computation" if collective.is_hidden else "waited for",
        )
    return table


def _time(job: Job, cluster: Cluster, predicted: Prediction) -> Table:
    rows = {
        "computation of a step": f"{1000 * predicted.compute:.1f} ms for {predicted.flop / 1e12:.2f} TFLOP",
        "collectives that are waited for": f"{1000 * predicted.waiting:.2f} ms",
        "collectives beside computation": f"{1000 * predicted.hidden:.2f} ms",
        "reading a batch": f"{1000 * predicted.data:.1f} ms",
        "a step": f"{1000 * predicted.step:.1f} ms, limited by {predicted.limit}",
        "images": f"{predicted.images_per_second:,.0f} per second, {job.batch * cluster.processes:,} per step",
        "an epoch": f"{predicted.epoch_hours:.2f} h, {predicted.steps_per_epoch:,} steps",
        "the run": f"{predicted.run_hours:.1f} h, {predicted.run_hours * cluster.processes:,.0f} GPU hours",
    }
    return _facts("time", rows)


def _storage(predicted: Prediction) -> Table:
    rows = {
        "data set": f"{decimal(round(predicted.data_bytes))} in {predicted.shards:,} shards",
        "read by all processes": f"{decimal(round(predicted.read_rate))} per second",
        "images asked for": f"{predicted.requests:,.0f} per second",
        "reading threads of a process": f"{predicted.threads} keep up (datamodule.num_workers)",
        "a checkpoint": f"{decimal(predicted.checkpoint)}, {predicted.save:.1f} s to write",
        "between two failures": f"{predicted.failure_hours:,.0f} h",
        "best between checkpoints": f"{predicted.interval / 60:.0f} min, {_steps(predicted):,} steps",
        "lost to checkpoints and failures": f"{100 * predicted.lost:.2f} % of the time",
    }
    return _facts("data and checkpoints", rows)


def _verdict(predicted: Prediction, advice: Sequence[str]) -> list[str]:
    if predicted.fits:
        share = predicted.memory_total / predicted.capacity
        return [f"It fits: {100 * share:.0f} % of the memory that can be used."]
    missing = decimal(predicted.memory_total - predicted.capacity)
    if not advice:
        return [f"It does not fit: {missing} too much. No batch size fits: take a smaller backbone or more GPUs."]
    return [f"It does not fit: {missing} too much. Each of these makes it fit:", *(f"  {line}" for line in advice)]


def _steps(predicted: Prediction) -> int:
    return max(round(predicted.interval / predicted.step), 1)


def _facts(title: str, rows: Mapping[str, str]) -> Table:
    table = _table(title, "")
    for row in rows.items():
        table.add_row(*row)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title, *columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right" if len(columns) > 1 and column.header not in ("what", "") else "left"
    for column in table.columns[1:-1]:
        column.no_wrap = True
    return table
