"""What an offline file of Weights & Biases holds; the client has no reader of its own any more."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

__all__ = ["Segment", "read_segments"]

_BLOCK, _HEADER = 32768, 7  # bytes of a block of LevelDB's log format, and of the header of a chunk in it
_WHOLE, _FIRST, _LAST = 1, 2, 4


@dataclass
class Segment:
    """What one process logged.

    Attributes:
        id: Of the run.
        group: Of the run.
        tags: Of the run.
        rows: Logged values by name, in order.
    """

    id: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def curve(self, name: str) -> list[tuple[int, Any]]:
        """Steps of the Trainer and values that were logged under a name."""
        return [(row["trainer/global_step"], row[name]) for row in self.rows if name in row]


def read_segments(run_folder: Path) -> list[Segment]:
    """What the processes of a run logged, in the order in which they did."""
    files = run_folder.glob("wandb/offline-run-*/run-*.wandb")
    return [_read(path) for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]


def _read(path: Path) -> Segment:
    segment = Segment()
    for message in _messages(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(message)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            segment.id, segment.group, segment.tags = record.run.run_id, record.run.run_group, list(record.run.tags)
        elif kind == "history":
            segment.rows.append(_row(record.history))
    return segment


def _row(history: wandb_internal_pb2.HistoryRecord) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in history.item:
        *parents, name = item.nested_key or [item.key]
        values = row
        for parent in parents:
            values = values.setdefault(parent, {})
        values[name] = json.loads(item.value_json)
    return row


def _messages(content: bytes) -> Iterator[bytes]:
    assert content.startswith(b":W&B"), "no file of W&B"
    position, message = _HEADER, b""
    while position + _HEADER <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        chunk = content[position + _HEADER : position + _HEADER + length]
        message = chunk if kind in (_WHOLE, _FIRST) else message + chunk
        position += _HEADER + length
        if kind in (_WHOLE, _LAST):
            yield message
