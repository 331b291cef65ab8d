"""The embedded procedural faces as training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src.datamodules.face_datamodule import ShardDataModule
from src.datamodules.procfaces.dataset import build
from src.datamodules.procfaces.faces_config import FacesConfig

__all__ = ["ProceduralFacesDataModule"]


class ProceduralFacesDataModule(ShardDataModule):
    """Shards of procedural faces that are rendered on first use, with their benchmarks beside them.

    Args:
        root: Folder of this data set.
        faces: What it holds.
        **options: See `ShardDataModule`.
    """

    def __init__(self, root: Path | str, *, faces: FacesConfig, **options: Any) -> None:
        super().__init__(Path(root) / "train", **options)
        self.faces = faces

    def prepare_data(self) -> None:
        """Render what is not there yet; the processes of a run that come second wait for the first."""
        build(self.root.parent, self.faces)
