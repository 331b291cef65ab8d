"""Training on embeddings that are held in memory, shared by the methods that are networks."""

from __future__ import annotations

import warnings
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from src.errors import UserError

__all__ = ["FeatureBatches", "FeatureDataModule", "fit_on_features"]


class FeatureBatches(Dataset[dict[str, Tensor]]):
    """Embeddings with their labels, read a batch at a time.

    Args:
        features: float32 [N, D].
        labels: int64 [N].
        attributes: int64 [N].
    """

    def __init__(self, features: Tensor, labels: Tensor, attributes: Tensor) -> None:
        self._tensors = {"feature": features, "label": labels, "attribute": attributes}

    def __getitem__(self, rows: list[int]) -> dict[str, Tensor]:
        return {name: tensor[rows] for name, tensor in self._tensors.items()}


class FeatureDataModule(L.LightningDataModule):
    """Batches of ``feature`` float32 [B, D], ``label`` int64 [B] and ``attribute`` int64 [B]; the last is full, too.

    Args:
        features: float32 [N, D].
        labels: int64 [N], identities 0 .. C - 1.
        attributes: int64 [N], 0 female, 1 male; the same for all rows of an identity.
        batch_size: B, at most N.
        balanced: Draw N embeddings per epoch with replacement, each weighted by ``N / (those of its gender)``; else
            each is drawn once.
        seed: Of the order.

    Raises:
        UserError: A batch needs more embeddings than there are.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, attributes: Tensor, *, batch_size: int, balanced: bool, seed: int
    ) -> None:
        super().__init__()
        if not 1 <= batch_size <= len(features):
            raise UserError(
                f"batch_size={batch_size}: expected between 1 and {len(features)}, the embeddings to learn from"
            )
        self._features, self._labels, self._attributes = features, labels, attributes
        self._batch_size = batch_size
        self._balanced = balanced
        self._seed = seed

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self._labels.max()) + 1

    @property
    def class_attributes(self) -> Tensor:
        """Gender of each identity, int8 [C]; -1 of one without embeddings."""
        attributes = torch.full((self.num_classes,), -1, dtype=torch.int8)
        attributes[self._labels] = self._attributes.to(torch.int8)
        return attributes

    @property
    def weights(self) -> Tensor:
        """Of the embeddings when they are drawn with balance, float64 [N]."""
        return (len(self._attributes) / torch.bincount(self._attributes).double())[self._attributes]

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of one epoch; each epoch of a fit has its own order."""
        generator = torch.Generator().manual_seed(self._seed)
        count = len(self._features)
        rows: Any = RandomSampler(range(count), generator=generator)
        if self._balanced:
            rows = WeightedRandomSampler(self.weights.tolist(), count, replacement=True, generator=generator)
        return DataLoader(
            FeatureBatches(self._features, self._labels, self._attributes),
            batch_size=None,
            sampler=BatchSampler(rows, self._batch_size, drop_last=True),
            generator=generator,
        )


def fit_on_features(
    module: L.LightningModule,
    embeddings: Tensor,
    labels: Tensor,
    attributes: Tensor,
    *,
    epochs: int,
    batch_size: int,
    balanced: bool = True,
    seed: int = 0,
    name: str = "",
    gradient_clip: float | None = None,
    device: torch.device | None = None,
) -> None:
    """Train a module on embeddings; a bar tells the epochs.

    Args:
        module: Takes the batches of `FeatureDataModule`; it is on the CPU and in evaluation mode afterwards.
        embeddings: float32 [N, D].
        labels: int64 [N], identities 0 .. C - 1.
        attributes: int64 [N], 0 female, 1 male.
        epochs: Passes.
        batch_size: Embeddings per step.
        balanced: See `FeatureDataModule`.
        seed: Of the order.
        name: What the bar says; by default the name of the class.
        gradient_clip: Largest norm of the gradient, which is scaled down to it; None: any.
        device: Where it is trained; None: on the CPU.

    Raises:
        UserError: A batch needs more embeddings than there are.
    """
    device = device or torch.device("cpu")
    data = FeatureDataModule(embeddings, labels, attributes, batch_size=batch_size, balanced=balanced, seed=seed)
    trainer = L.Trainer(
        accelerator=device.type,
        devices=1 if device.index is None else [device.index],
        max_epochs=epochs,
        gradient_clip_val=gradient_clip,
        callbacks=[_EpochBar(name or type(module).__name__)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    with warnings.catch_warnings():
        # True of a recogniser whose network is frozen: it is only trained here, not evaluated.
        warnings.filterwarnings("ignore", r"You defined a `validation_step`")
        warnings.filterwarnings("ignore", r"Found .* in eval mode at the start of training")
        trainer.fit(module, datamodule=data)
    module.cpu().eval()


class _EpochBar(L.Callback):
    """A bar on the standard error stream that counts epochs."""

    def __init__(self, name: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._name = name

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=trainer.max_epochs)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._bar.advance(self._task)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._bar.stop()
