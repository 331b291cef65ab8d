"""The embedded procedural faces as training data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.procfaces.dataset import build
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.parts import TRAIN
from src.datamodules.sources.shard_source import ShardSource

__all__ = ["ProceduralFacesDataModule"]


class ProceduralFacesDataModule(FaceDataModule):
    """Shards of procedural faces that are rendered on first use, with their benchmarks beside them.

    Args:
        root: Folder of this data set.
        faces: What it holds.
        **options: See `FaceDataModule`.
    """

    def __init__(self, root: Path | str, *, faces: FacesConfig, **options: Any) -> None:
        super().__init__(partial(ShardSource, Path(root) / TRAIN), **options)
        self.root = Path(root)
        self.faces = faces

    def prepare_data(self) -> None:
        """Render what is not there yet; the processes of a run that come second wait for the first."""
        build(self.root, self.faces)
