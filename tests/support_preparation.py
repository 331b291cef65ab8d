"""Preparing small data sets and looking at what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support_source import ComputedSource

from src.datamodules.preparation.build import Preparation, Result
from src.datamodules.preparation.shard_target import ShardTarget
from src.datamodules.preparation.target import Target
from src.datamodules.preparation.transform import FaceTransform
from src.datamodules.shards import ShardIndex
from src.datamodules.sources.source import FaceSource


def preparation_of(
    out: Path,
    source: FaceSource | None = None,
    kind: type[Target] = ShardTarget,
    transform: FaceTransform | None = None,
    **arguments: Any,
) -> Preparation:
    arguments = {"samples_per_part": 5, "shuffle_seed": 1, "max_bad_fraction": 0.0} | arguments
    source = source or ComputedSource()
    return Preparation(source, kind(out, out / "unused"), transform or FaceTransform(), **arguments)


def prepare(out: Path, *arguments: Any, processes: int = 1, **more: Any) -> Result | None:
    return preparation_of(out, *arguments, **more).run(processes)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def member(index: ShardIndex, row: int, column: int) -> bytes:
    content = (index.root / index.shards[index.shard[row]].file).read_bytes()
    start = index.offset[row, column]
    return content[start : start + index.size[row, column]]


class Killed(BaseException):
    pass


class DyingSource(ComputedSource):
    """Kills the process, so to speak, when it is asked for a row."""

    def content(self, row: int, modality: str = "image") -> bytes:
        if row == 9:
            raise Killed
        return super().content(row, modality)
