"""Checkpoints of the gender-angular method as its own code writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor

from src.files import atomic_write

__all__ = ["ReferenceCheckpoints"]


class ReferenceCheckpoints(L.Callback):
    """Writes the privacy layer and the class centres to files that the method's own code loads, and this package too.

    After every so many epochs ``<step>ftn_layers.pth``, the state dict of the module's ``layer``, and
    ``<step>header.pth``, its ``loss.head`` as ``kernel`` [D, C]; see `src.models.networks.privacy_weights`. Nothing in
    them continues a run: that is what ``last.ckpt`` is for.

    Args:
        folder: Where the files go.
        every_n_epochs: Epochs between two checkpoints.
        min_step: Nothing is written up to this optimiser step.
    """

    def __init__(self, folder: Path | str, every_n_epochs: int = 10, min_step: int = 100) -> None:
        self._folder = Path(folder)
        self._every_n_epochs = every_n_epochs
        self._min_step = min_step

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the files if this epoch is due."""
        is_due = (trainer.current_epoch + 1) % self._every_n_epochs == 0 and trainer.global_step > self._min_step
        if not is_due or not trainer.is_global_zero:
            return
        module = cast(Any, pl_module)
        self._write(f"{trainer.global_step}ftn_layers.pth", module.layer.state_dict())
        self._write(f"{trainer.global_step}header.pth", {"kernel": module.loss.head.weight.T})

    def _write(self, name: str, weights: dict[str, Tensor]) -> None:
        contents = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        with atomic_write(self._folder / name) as file:
            torch.save(contents, file)
