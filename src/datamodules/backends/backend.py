"""What all decoding backends do, and the choice of one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch

from src.datamodules.backends.cpu import CpuBackend
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.sample import Sample
from src.errors import UserError, check_choice

__all__ = ["BACKENDS", "Backend", "make_backend"]

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "cpu", "dali")


class Backend(Protocol):
    """Reads and decodes batches; all backends give the same samples up to the rounding of their decoders."""

    def read(self, batches: Iterator[np.ndarray]) -> Iterator[Sample]:
        """Turn rows into batches, in order, working ahead of what is asked for.

        One stream at a time; closing the returned generator ends the work.

        Args:
            batches: Rows of each batch, at most `batch_size`.

        Yields:
            Images uint8 [B, S, S, C]; unreadable ones are left out, and an all unreadable batch is empty.
        """

    def close(self) -> None:
        """End every thread; the next `read` starts them again."""


def make_backend(
    name: str, dataset: FaceDataset, *, batch_size: int, threads: int, device: torch.device | None = None
) -> Backend:
    """Build the decoding backend of a training run.

    Args:
        name: One of `BACKENDS`; auto takes DALI on a GPU where it is installed, else the CPU backend, and logs why.
        dataset: What to read.
        batch_size: Largest number of rows in a batch.
        threads: Decoding threads; 0 decodes in the calling thread.
        device: Where the model is.

    Raises:
        UserError: Unknown name, or DALI is not installed.
    """
    check_choice("datamodule.backend", name, BACKENDS)
    device = device or torch.device("cpu")
    if name == "auto":
        name, reason = _choose(device)
        logger.info("datamodule.backend=auto: %s", reason)
    if name == "cpu":
        return CpuBackend(dataset, threads=threads, pin_memory=device.type == "cuda")
    if not _dali_is_installed():
        raise UserError(
            "datamodule.backend=dali: NVIDIA DALI is not installed; pip install nvidia-dali-cuda130 (or -cuda120 for "
            "an older driver), or set datamodule.backend=cpu"
        )
    # Importing DALI takes a second that other runs need not spend.
    from src.datamodules.backends.dali import DaliBackend

    return DaliBackend(dataset, batch_size=batch_size, threads=threads, device=device)


def _choose(device: torch.device) -> tuple[str, str]:
    if device.type != "cuda":
        return "cpu", f"cpu, because on {device.type} libjpeg-turbo in threads is faster than DALI"
    if not _dali_is_installed():
        return "cpu", "cpu, because NVIDIA DALI is not installed"
    return "dali", f"dali, because it decodes on {device}"


def _dali_is_installed() -> bool:
    try:
        return find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:
        return False
