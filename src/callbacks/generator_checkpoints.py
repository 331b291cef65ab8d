"""Checkpoints of a generator's training that are kept: all of an interval, and the best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import lightning as L

from src.callbacks.generated_faces import is_due
from src.errors import UserError
from src.models.arcbifacegan import ArcBiFaceGAN

__all__ = ["BestGenerator", "GeneratorSnapshots"]


class GeneratorSnapshots(L.Callback):
    """Writes ``kimg000200.ckpt`` after 200 thousand images, and so on; none is replaced.

    Lightning's own callback counts iterations, of which there are more or fewer by the batch and the devices.

    Args:
        folder: Where the checkpoints go.
        every_kimg: Thousand images from one to the next, at least 1; None for no checkpoints.

    Raises:
        UserError: It is less than 1.
    """

    def __init__(self, folder: Path | str, every_kimg: float | None = None) -> None:
        if every_kimg is not None and every_kimg < 1:
            raise UserError(f"callbacks.snapshots.every_kimg: expected null or at least 1, found {every_kimg}")
        self._folder, self._every_kimg = Path(folder), every_kimg

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one if it is time to."""
        module = cast(ArcBiFaceGAN, pl_module)
        if self._every_kimg is not None and is_due(module, self._every_kimg, len(batch["image"]) * trainer.world_size):
            trainer.save_checkpoint(self._folder / f"kimg{module.images // 1000:06d}.ckpt")


class BestGenerator(L.Callback):
    """Writes ``best.ckpt`` whenever a metric was measured that is lower than ever before in the training.

    Lightning's own callback expects metrics at the end of an epoch or a validation, and warns until there are some. To
    stand after the callback that measures.

    Args:
        folder: Where the checkpoint goes.
        monitor: Name of the metric, lower is better; None for no checkpoint.
    """

    def __init__(self, folder: Path | str, monitor: str | None = None) -> None:
        self._path, self._monitor = Path(folder) / "best.ckpt", monitor
        self._lowest = math.inf

    def state_dict(self) -> dict[str, Any]:
        """What is known of earlier checkpoints."""
        return {"monitor": self._monitor, "lowest": self._lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, unless it was another metric."""
        if state_dict["monitor"] == self._monitor:
            self._lowest = state_dict["lowest"]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the checkpoint if the metric is lower."""
        self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Likewise."""
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if self._monitor is None:
            return
        found = trainer.callback_metrics.get(self._monitor)
        if found is not None and float(found) < self._lowest:
            self._lowest = float(found)
            trainer.save_checkpoint(self._path)
