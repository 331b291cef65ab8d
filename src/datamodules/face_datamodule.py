"""Lightning's view of the training data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from src.datamodules.folder_dataset import FolderDataset
from src.datamodules.image_dataset import ImageDataset
from src.datamodules.loader import ResumableLoader
from src.datamodules.sample import Sample, collate
from src.datamodules.shard_dataset import ShardDataset
from src.errors import UserError

if TYPE_CHECKING:
    from src.datamodules.augmentation import FaceAugmentation

__all__ = ["FaceDataModule", "FolderDataModule", "ShardDataModule"]


class Benchmark(Protocol):
    """What training and evaluation need of a benchmark."""

    metric_names: tuple[str, ...]

    def check(self) -> None:
        """Raise UserError where files are missing or malformed, before any long work."""

    def images(self) -> Dataset[Any]:
        """Samples with ``image`` float32 [3, S, S] in [-1, 1] and ``index``."""

    def score(self, embeddings: Any) -> Any:
        """Metrics and curves of the embeddings of all images."""


class FaceDataModule(LightningDataModule, ABC):
    """Training batches of faces, resumable in the middle of an epoch, augmented on the device.

    Args:
        size: Side of the images in pixels.
        batch_size: Samples per batch and device.
        num_workers: Loader processes per device.
        seed: Of the order and the augmentation.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.
        augmentation: Applied to training batches; none by default.
        benchmarks: By name; validation embeds the images of each, see `src.callbacks.benchmarks`.

    Raises:
        UserError: A number is out of its range.
    """

    def __init__(
        self,
        *,
        size: int = 112,
        batch_size: int = 64,
        num_workers: int = 2,
        seed: int = 0,
        max_bad_fraction: float = 0.01,
        augmentation: FaceAugmentation | None = None,
        benchmarks: Mapping[str, Benchmark] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0 or not 0 <= max_bad_fraction <= 1:
            raise UserError(
                "datamodule: expected batch_size of at least 1, num_workers of at least 0 and max_bad_fraction "
                f"between 0 and 1; found {batch_size}, {num_workers} and {max_bad_fraction}"
            )
        self.size = size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.max_bad_fraction = max_bad_fraction
        self.augmentation = augmentation
        self.benchmarks = dict(benchmarks or {})
        self._loader: ResumableLoader | None = None
        self._position: dict[str, Any] | None = None

    @abstractmethod
    def make_dataset(self) -> ImageDataset:
        """Open the training data."""

    @cached_property
    def dataset(self) -> ImageDataset:
        """The training data, opened on first use."""
        return self.make_dataset()

    @property
    def num_classes(self) -> int:
        """Number of identities."""
        return len(self.dataset.classes)

    @property
    def num_samples(self) -> int:
        """Number of training images."""
        return len(self.dataset)

    def example_batch(self, count: int = 32) -> Sample:
        """Return training samples spread over the dataset, not augmented; fewer where images cannot be read."""
        rows = torch.linspace(0, self.num_samples - 1, min(count, self.num_samples)).long().unique()
        return collate([self.dataset[int(row)] for row in rows])

    def setup(self, stage: str) -> None:
        """Check, before anything long starts, that identities can be learned from the data."""
        if stage == "fit":
            self.dataset.check_classes()

    def teardown(self, stage: str) -> None:
        """Say how many training images were skipped because they cannot be read."""
        if stage == "fit":
            self.dataset.report_unreadable()

    def train_dataloader(self) -> ResumableLoader:
        """Return this rank's share of the shuffled training data, from the restored position or the start."""
        self._loader = ResumableLoader(
            self.dataset,
            self.batch_size,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )
        if self._position is not None:
            self._loader.load_state_dict(self._position)
        return self._loader

    def state_dict(self) -> dict[str, Any]:
        """Position in the training data, for the checkpoint.

        Lightning would store it with its loops, but restores it there only in the middle of an epoch and only if
        nothing opened the loader before.
        """
        return {"position": None if self._loader is None else self._loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the position for the next `train_dataloader`."""
        self._position = state_dict["position"]

    def val_dataloader(self) -> list[DataLoader]:
        """Return the images of each benchmark in order; Lightning shares them out among ranks."""
        return [
            DataLoader(
                benchmark.images(),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                pin_memory=torch.cuda.is_available(),
                # Drawing the workers' seeds from the global generator would shift the model's dropout.
                generator=torch.Generator().manual_seed(self.seed),
            )
            for benchmark in self.benchmarks.values()
        ]

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Augment training batches; leave all others alone."""
        if self.augmentation is None or self._loader is None or not (self.trainer and self.trainer.training):
            return batch
        return self.augmentation(batch, seed=self.seed, step=self._loader.step, rank=self.trainer.global_rank)


class ShardDataModule(FaceDataModule):
    """Training data from a folder of WebDataset shards.

    Args:
        root: Folder with the tars and their `index.json`.
        fields: Sample keys to yield besides `key`: image, nir, label, attribute, feature, landmarks.
        align: Align the images to the template by the landmarks in the shards.
        **options: See `FaceDataModule`.
    """

    def __init__(
        self, root: Path | str, *, fields: Sequence[str] = ("image", "label"), align: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.root = Path(root)
        self.fields = tuple(fields)
        self.align = align

    def make_dataset(self) -> ShardDataset:
        """Open the shards."""
        return ShardDataset(
            self.root,
            size=self.size,
            fields=self.fields,
            align=self.align,
            max_bad_fraction=self.max_bad_fraction,
        )


class FolderDataModule(FaceDataModule):
    """Training data from a folder of images per class.

    Args:
        root: Folder of class folders.
        landmarks: CSV file (see `landmarks.read_landmarks`) to align the images by.
        missing_landmarks: What to do about images without a row in it: stop, or leave them out.
        **options: See `FaceDataModule`.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        landmarks: Path | str | None = None,
        missing_landmarks: Literal["error", "skip"] = "error",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = Path(root)
        self.landmarks = landmarks
        self.missing_landmarks = missing_landmarks

    def make_dataset(self) -> FolderDataset:
        """List the images."""
        return FolderDataset(
            self.root,
            size=self.size,
            landmarks=self.landmarks,
            missing_landmarks=self.missing_landmarks,
            max_bad_fraction=self.max_bad_fraction,
        )
