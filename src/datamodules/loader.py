"""A training loader that resumes in the middle of an epoch, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from src.datamodules.image_dataset import ImageDataset
from src.datamodules.sample import Sample, collate
from src.errors import UserError

__all__ = ["ResumableLoader"]


class ResumableLoader:
    """Shuffled batches whose order is a pure function of (seed, epoch).

    All ranks draw from one permutation of the dataset, striding by rank; samples that do not fill a batch on every
    rank are left for another epoch. The datamodule stores `state_dict` in checkpoints and restores it. The
    position counts samples handed out over all ranks, so it does not depend on loader processes that read ahead, and
    survives a change of the number of ranks: no sample of the epoch is then lost or repeated (but Lightning, which
    counts batches, may split that one epoch in two).

    An iterator that is dropped early does not end the epoch: the next one goes on from the same position.

    Args:
        dataset: What to draw from.
        batch_size: Samples per batch and rank.
        seed: Of the permutations.
        rank: This process among `world_size`.
        world_size: Number of processes.
        num_workers: Loader processes per rank.
        pin_memory: Copy batches to page-locked memory, for faster transfer to a GPU.

    Raises:
        UserError: The dataset is smaller than one batch on every rank.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.epoch = 0
        self.position = 0
        if len(self) == 0:
            raise UserError(
                f"{dataset.name}: {len(dataset)} images are fewer than one batch of {batch_size} on each "
                f"of {world_size} processes; lower datamodule.batch_size or trainer.devices"
            )

    @property
    def _samples_per_step(self) -> int:
        return self.batch_size * self.world_size

    @property
    def step(self) -> int:
        """Number of batches handed out so far, this rank, over all epochs."""
        return self.epoch * len(self) + self.position // self._samples_per_step

    def __len__(self) -> int:
        """Batches per epoch and rank."""
        return len(self.dataset) // self._samples_per_step

    def __iter__(self) -> Iterator[Sample]:
        # Lightning stops after len() batches without exhausting the iterator, so the end of an epoch shows only here.
        if len(self.dataset) - self.position < self._samples_per_step:
            self.epoch, self.position = self.epoch + 1, 0
        loader = DataLoader(
            self.dataset,
            batch_sampler=(batch.tolist() for batch in self._remaining_batches()),
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=self.pin_memory,
            # A generator of its own: drawing the workers' seeds from the global one would shift the model's dropout.
            generator=torch.Generator().manual_seed(self.seed),
        )
        for batch in loader:
            self.position += self._samples_per_step
            self.dataset.check_readable()
            if not batch:
                raise UserError(f"{self.dataset.name}: no image of a batch of {self.batch_size} could be read")
            yield batch

    def _remaining_batches(self) -> torch.Tensor:
        """int64 [batches, batch_size], rows of the dataset for this rank from the current position on."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.dataset), generator=generator)[self.position :]
        batches = len(order) // self._samples_per_step
        return order[self.rank :: self.world_size][: batches * self.batch_size].view(batches, self.batch_size)

    @property
    def _fingerprint(self) -> dict[str, str | int]:
        return {
            "dataset": self.dataset.fingerprint,
            "images": len(self.dataset),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the position, equal on all ranks, and what it refers to."""
        return {"epoch": self.epoch, "position": self.position, "fingerprint": self._fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a stored position.

        Raises:
            UserError: It was stored with another dataset, batch size or seed.
        """
        stored = state_dict["fingerprint"]
        for name, value in self._fingerprint.items():
            if stored[name] != value:
                raise UserError(
                    f"{self.dataset.name}: cannot resume in the middle of the training data: the checkpoint was made "
                    f"with {name} {stored[name]!r}, this run has {value!r}. Resume with the former, or start a new run "
                    "from the checkpoint's weights."
                )
        self.epoch, self.position = state_dict["epoch"], state_dict["position"]
