"""Training throughput as a logged metric."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import lightning as L

__all__ = ["ImagesPerSecond"]


class ImagesPerSecond(L.Callback):
    """Logs ``train/images_per_second`` over all devices and shows it in the progress bar as ``images/s``.

    Args:
        window: Number of latest batches over which the rate is taken.
    """

    def __init__(self, window: int = 50) -> None:
        self._finished: deque[tuple[float, int]] = deque(maxlen=window + 1)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the pause of a validation."""
        self._finished.clear()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the rate over the window that ends with this batch."""
        self._finished.append((time.perf_counter(), len(batch["key"])))
        if len(self._finished) < 2:
            return
        seconds = self._finished[-1][0] - self._finished[0][0]
        images = sum(count for _, count in list(self._finished)[1:]) * trainer.world_size
        rate = images / max(seconds, 1e-9)
        pl_module.log("images/s", rate, prog_bar=True, logger=False, batch_size=1)
        pl_module.log("train/images_per_second", rate, batch_size=1)
