"""Random reads of a record file, against what is usually written for it."""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from src.datamodules.record_reader import RecordReader

__all__ = ["seconds_per_record"]

_REPEATS = 5


def seconds_per_record(root: Path) -> dict[str, float]:
    """CPU seconds per image and label in random order; fails if the readers disagree.

    Args:
        root: Holds `train.rec` and `train.idx`.
    """
    reader = RecordReader(root / "train.rec")
    positions = dict(tuple(map(int, line.split())) for line in (root / "train.idx").read_text().splitlines())
    order = np.random.default_rng(0).permutation(len(reader)).tolist()
    with open(root / "train.rec", "rb") as file:

        def naive(row: int) -> tuple[bytes, int]:
            file.seek(positions[row + 1])
            _, length = struct.unpack("<II", file.read(8))
            record = file.read(length & 0x1FFFFFFF)
            flag, label, _, _ = struct.unpack("<IfQQ", record[:24])
            if flag > 0:
                label = np.frombuffer(record[24 : 24 + 4 * flag], np.float32)[0]
            return record[24 + 4 * flag :], int(label)

        if any(naive(row) != reader[row] for row in order[:1000]):
            raise SystemExit("the readers of records disagree")
        return {
            "seek, read, unpack": _median_seconds(naive, order),
            "ours": _median_seconds(reader.__getitem__, order),
        }


def _median_seconds(read: Callable[[int], object], order: list[int]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        begin = time.process_time()
        for row in order:
            read(row)
        seconds.append((time.process_time() - begin) / len(order))
    return statistics.median(seconds)
