"""A training loader that resumes in the middle of an epoch, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from src.datamodules.backends.backend import Backend
from src.datamodules.face_dataset import FaceDataset
from src.datamodules.sample import Sample
from src.datamodules.sampling import Sampling
from src.errors import UserError

__all__ = ["ResumableLoader"]


class ResumableLoader:
    """Batches in the order of a sampling, shared out among ranks, decoded by a backend.

    Samples that do not fill a batch on every rank are left for another epoch. The datamodule stores
    `state_dict` in checkpoints and restores it. The position counts samples handed out over all ranks, so it does not
    depend on threads that read ahead, and survives a change of backend, threads or number of ranks: no sample of the
    epoch is then lost or repeated (but Lightning, which counts batches, may split that one epoch in two).

    An iterator that is dropped early does not end the epoch: the next one goes on from the same position.

    Args:
        dataset: What to draw from.
        sampling: The order; its batch size is that of this loader.
        backend: Decodes.
        rank: This process among `world_size`.
        world_size: Number of processes.

    Raises:
        UserError: The dataset is smaller than one batch on every rank.
    """

    def __init__(
        self, dataset: FaceDataset, sampling: Sampling, backend: Backend, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.dataset = dataset
        self.sampling = sampling
        self.backend = backend
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.position = 0
        self._batches: Any = None
        if len(self) == 0:
            raise UserError(
                f"{dataset.name}: {len(dataset)} images are fewer than one batch of {sampling.batch_size} on each "
                f"of {world_size} processes; lower datamodule.batch_size or trainer.devices"
            )

    @property
    def _samples_per_step(self) -> int:
        return self.sampling.batch_size * self.world_size

    @property
    def step(self) -> int:
        """Number of batches handed out so far, this rank, over all epochs."""
        return self.epoch * len(self) + self.position // self._samples_per_step

    def __len__(self) -> int:
        """Batches per epoch and rank."""
        return len(self.dataset) // self._samples_per_step

    def __iter__(self) -> Iterator[Sample]:
        self._stop()
        # Lightning stops after len() batches without exhausting the iterator, so the end of an epoch shows only here.
        if len(self.dataset) - self.position < self._samples_per_step:
            self.epoch, self.position = self.epoch + 1, 0
        self._batches = self.backend.read(iter(self._remaining_batches()))
        for batch in self._batches:
            self.position += self._samples_per_step
            self.dataset.check_readable()
            if not batch:
                raise UserError(f"{self.dataset.name}: no image of a batch of {self.sampling.batch_size} could be read")
            yield batch

    def close(self) -> None:
        """End the threads of the backend; the position stays."""
        self._stop()
        self.backend.close()

    def _stop(self) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _remaining_batches(self) -> np.ndarray:
        """int64 [batches, batch_size], rows of the dataset for this rank from the current position on."""
        order = self.sampling.order(self.epoch)[self.position :]
        batches = len(order) // self._samples_per_step
        blocks = order[: batches * self._samples_per_step].reshape(-1, self.sampling.block)
        return blocks[self.rank :: self.world_size].reshape(batches, self.sampling.batch_size)

    @property
    def _fingerprint(self) -> dict[str, str | int]:
        return {
            "dataset": self.dataset.source.fingerprint,
            "images": len(self.dataset),
            "batch_size": self.sampling.batch_size,
            "sampling": self.sampling.description,
            "seed": self.sampling.seed,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the position, equal on all ranks, and what it refers to."""
        return {"epoch": self.epoch, "position": self.position, "fingerprint": self._fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a stored position.

        Raises:
            UserError: It was stored with another dataset, batch size, sampling or seed.
        """
        stored = state_dict["fingerprint"]
        for name, value in self._fingerprint.items():
            if stored.get(name) != value:
                raise UserError(
                    f"{self.dataset.name}: cannot resume in the middle of the training data: the checkpoint was made "
                    f"with {name} {stored.get(name)!r}, this run has {value!r}. Resume with the former, or start a new "
                    "run from the checkpoint's weights."
                )
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]
