"""Checkpoints that are whole or absent."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from src.files import atomic_write

__all__ = ["AtomicCheckpointIO"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name, flushes it to the disk and renames it.

    Lightning's own writer goes through the system's temporary folder; where that is another file system its last step
    is a copy, and a kill during the copy leaves a truncated ``last.ckpt``.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to the local file ``path``."""
        with atomic_write(path) as file:
            torch.save(checkpoint, file)
