"""Opening the index of a data set too large to write for a benchmark: its tars are empty files of the right length."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from src.datamodules.shard_index import Shard, ShardIndex
from src.datamodules.storage import Location

__all__ = ["index_of"]

_PER_SHARD, _CLASSES, _RECORD = 20_000, 50_000, 12_288


def index_of(root: Path, samples: int) -> tuple[float, int, int]:
    """Seconds to open an index in a fresh process, bytes it holds there, and bytes on disk."""
    root.mkdir()
    shards = []
    for number in range(samples // _PER_SHARD):
        path = root / f"train-{number:06d}.tar"
        path.touch()
        with open(path, "r+b") as file:
            file.truncate(_PER_SHARD * _RECORD)
        shards.append(Shard(path.name, _PER_SHARD * _RECORD, f"{number:064x}", _PER_SHARD))
    start = np.arange(samples)[:, None] % _PER_SHARD * _RECORD
    missing = np.full((samples, 1), -1)
    index = ShardIndex(
        root=Location(root),
        shards=tuple(shards),
        classes=[f"{label:07d}" for label in range(_CLASSES)],
        resolution=112,
        attributes={},
        keys=np.array([b"%09d" % row for row in range(samples)]),
        shard=(np.arange(samples) // _PER_SHARD).astype(np.int32),
        label=(np.arange(samples) % _CLASSES).astype(np.int32),
        attribute=np.zeros(samples, np.int8),
        offset=np.concatenate([start + 512, missing, start + 11_776, missing], 1),
        size=np.tile(np.array([10_000, 0, 200, 0], np.int32), (samples, 1)),
    )
    index.save()
    disk = sum((root / name).stat().st_size for name in ("index.json", "index.npz"))
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return (*process.submit(_open, root).result(), disk)


def _open(root: Path) -> tuple[float, int]:
    from benchmarks.loading.measure import held_memory

    before = held_memory()
    begin = time.perf_counter()
    index = ShardIndex.load(root)
    seconds = time.perf_counter() - begin
    held = held_memory() - before
    return seconds, held if len(index) else 0
