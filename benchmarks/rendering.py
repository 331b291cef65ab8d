"""CPU time of drawing procedural faces: in batches, as data sets are made, against one by one.

python -m benchmarks.rendering
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from src.datamodules.procfaces import combine, degrade, identity, nuisance, render

IMAGES = 32
REPEATS = 3
BATCH = {32: 16, 64: 16, 112: 9}


def main() -> None:
    """Print milliseconds per image, visible and infrared and degradation, one thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    table = Table("size", "batch", "CPU ms/image", "one by one", "ratio", title="Drawing procedural faces, 1 thread")
    for size, batch in BATCH.items():
        draw(size, batch)  # warm-up
        runs = [(draw(size, batch), draw(size, 1)) for _ in range(REPEATS)]
        together, single = (statistics.median(column) for column in zip(*runs, strict=True))
        table.add_row(f"{size} px", str(batch), f"{together:.1f}", f"{single:.1f}", f"{single / together:.1f}x")
    Console().print(table)


def draw(size: int, batch: int) -> float:
    """CPU milliseconds per image."""
    people = np.arange(IMAGES)
    start = time.process_time()
    for first in range(0, IMAGES, batch):
        ids = people[first : first + batch]
        parameters = combine(identity(0, ids), np.arange(len(ids)), nuisance(0, ids, np.zeros_like(ids)))
        rendering = render(parameters, size)
        degrade(rendering.visible, parameters)
        if rendering.infrared is not None:
            degrade(rendering.infrared, parameters, infrared=True)
    return 1000 * (time.process_time() - start) / IMAGES


if __name__ == "__main__":
    main()
