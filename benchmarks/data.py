"""How fast training images are loaded, against the usual loaders and the limit of the decoder.

Run as ``python -m benchmarks.data`` (``make bench-data``); about five minutes. Every loader yields float32 batches
[64, 3, 112, 112] in [-1, 1] on the device, those marked uint8 the bytes that are made floats there.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import track
from rich.table import Table

from benchmarks.loading.images import IMAGES, make_images
from benchmarks.loading.index import index_of
from benchmarks.loading.measure import LIMIT, Measurement, measure, memory_over_epochs
from benchmarks.loading.records import seconds_per_record

ROUNDS, EPOCHS, INDEXED = 3, 20, 1_000_000
OURS = ("ours, shards", "DALI CPU, shards")


def main() -> None:
    """Measure and print the tables."""
    from benchmarks.loading.loaders import LOADERS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes or threads of every loader")
    workers = parser.parse_args().workers
    logging.disable(logging.INFO)
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_images(root)
        # In turns, so that all suffer alike from whatever else the machine does.
        names = [LIMIT, *LOADERS] * ROUNDS
        measured: dict[str, list[Measurement]] = {name: [] for name in names}
        for name in track(names, "loaders", transient=True):
            measured[name].append(measure(name, root, workers))
        console.print(loader_table(measured, workers))
        console.print(record_table(root))
        console.print(index_table(root))
        console.print(leak_table(root, workers))


def loader_table(measured: dict[str, list[Measurement]], workers: int) -> Table:
    """Speed of each loader with its ratios to the usual one and to the limit; the median of the rounds."""
    from benchmarks.loading.loaders import REFERENCE

    def median(name: str, field: str) -> float:
        return statistics.median(getattr(measurement, field) for measurement in measured[name])

    table = Table(
        "loader", "images/s", "per CPU second", f"x {REFERENCE}", "of the limit", "first batch", "memory",
        title=f"{IMAGES:,} JPEGs of 112 px, {workers} workers, median of {ROUNDS} rounds",
    )  # fmt: skip
    for name in measured:
        speed = median(name, "images_per_second")
        table.add_row(
            name,
            f"{speed:,.0f}",
            f"{median(name, 'images_per_cpu_second'):,.0f}",
            f"{speed / median(REFERENCE, 'images_per_second'):.2f}",
            f"{speed / median(LIMIT, 'images_per_second'):.0%}",
            f"{median(name, 'start'):.2f} s",
            decimal(int(median(name, "memory"))),
        )
    return table


def record_table(root: Path) -> Table:
    """Random reads of a record file."""
    seconds = seconds_per_record(root / "record")
    naive = seconds["seek, read, unpack"]
    table = Table("reader", "per record", "ratio", title="train.rec, random order, pages in cache")
    for name, value in seconds.items():
        table.add_row(name, f"{value * 1e6:.2f} µs", f"{naive / value:.1f}x")
    return table


def index_table(root: Path) -> Table:
    """Opening the index of a large data set."""
    seconds, memory, disk = index_of(root / "large", INDEXED)
    table = Table("samples", "opened in", "memory", "on disk", title="index of shards")
    table.add_row(f"{INDEXED:,}", f"{seconds:.2f} s", decimal(memory), decimal(disk))
    return table


def leak_table(root: Path, workers: int) -> Table:
    """Memory over many epochs."""
    after = (1, 5, 10, 15, EPOCHS)
    table = Table("loader", *(f"after epoch {epoch}" for epoch in after), title=f"memory held, {IMAGES:,} images each")
    for name in track(OURS, "many epochs", transient=True):
        held = memory_over_epochs(name, root, workers, EPOCHS)
        table.add_row(name, *(decimal(held[epoch - 1]) for epoch in after))
    return table


if __name__ == "__main__":
    main()
