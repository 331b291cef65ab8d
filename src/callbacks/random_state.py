"""Random number generators in the checkpoint, so that a resumed run continues them."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import distributed

__all__ = ["RandomState"]


class RandomState(L.Callback):
    """Saves the state of every global random generator and restores it before the first resumed batch.

    Lightning restores weights, optimisers, loops and loaders but not the generators behind dropout or sampled
    margins; without them a resumed run sees the same images and yet ends with other weights. Each rank keeps its
    own state, so the number of processes must not change. The state consists of tensors and plain Python
    values only: ``torch.load(weights_only=True)`` accepts it.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """States of all ranks; collective, hence called on each of them."""
        return {"per_rank": _gather(_capture())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep this rank's state until training starts."""
        rank = distributed.get_rank() if distributed.is_initialized() else 0
        if rank < len(state_dict["per_rank"]):
            self._restored = state_dict["per_rank"][rank]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the generators where the checkpoint left them."""
        if self._restored is not None:
            _restore(self._restored)
            self._restored = None


def _capture() -> dict[str, Any]:
    name, words, *rest = np.random.get_state()  # noqa: NPY002 - libraries draw from the global generator
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(words, dtype=np.int64)), *rest],
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    random.setstate(state["python"])
    name, words, *rest = state["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002


def _gather(value: dict[str, Any]) -> list[dict[str, Any]]:
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values
