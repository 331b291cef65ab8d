"""What a frozen network makes of the training images, computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor

from src.datamodules.backends.backend import make_backend
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import to_float_images
from src.errors import UserError
from src.eval.embedding_cache import EmbeddingCache
from src.progress import image_progress

__all__ = ["frozen_features"]


def frozen_features(
    embed: Callable[[Tensor], Tensor],
    fingerprint: str,
    datamodule: FaceDataModule,
    trainer: L.Trainer,
    cache_folder: Path | str,
) -> Tensor:
    """Embed every training image and its mirror image; all processes share the work and get the result.

    Args:
        embed: From float32 [B, 3, S, S] in [-1, 1] to embeddings [B, D], on the trainer's device.
        fingerprint: Of the network behind ``embed``.
        datamodule: Has the images.
        trainer: Its strategy and precision are used.
        cache_folder: Where the result is looked up and kept.

    Returns:
        float32 [N, 2, D] on the CPU: image and mirror image of every row; NaN where an image cannot be read.

    Raises:
        UserError: Too many images cannot be read.
    """
    dataset, strategy = datamodule.dataset, trainer.strategy
    cache = EmbeddingCache(cache_folder)
    origin = {
        "kind": "training features",
        "network": fingerprint,
        "precision": str(trainer.precision),
        "device": strategy.root_device.type,
        "images": dataset.source.content_fingerprint,
        "size": str(dataset.size),
        "align": str(dataset.align),
    }
    found = cache.load(origin) if trainer.is_global_zero else None
    found = strategy.broadcast(found)
    if found is not None:
        return found["features"]
    share = _rows_of_process(len(dataset), trainer.global_rank, trainer.world_size)
    features = _embed_rows(embed, datamodule, trainer, share)
    gathered = (
        strategy.all_gather(features.to(strategy.root_device)).cpu().view(-1, *features.shape[1:])[: len(dataset)]
    )
    if trainer.is_global_zero:
        cache.store(origin, {"features": gathered})
    return gathered


def _rows_of_process(count: int, rank: int, world_size: int) -> np.ndarray:
    """An equal number of rows for every process; those of the last may end in repetitions of the last row."""
    each = -(-count // world_size)
    return np.minimum(np.arange(rank * each, (rank + 1) * each), count - 1)


def _embed_rows(
    embed: Callable[[Tensor], Tensor], datamodule: FaceDataModule, trainer: L.Trainer, rows: np.ndarray
) -> Tensor:
    dataset, device = datamodule.dataset, trainer.strategy.root_device
    backend = make_backend(
        datamodule.backend,
        dataset,
        batch_size=datamodule.batch_size,
        threads=datamodule.num_workers,
        device=device,
    )
    batches = np.array_split(rows, -(-len(rows) // datamodule.batch_size))
    embedded: list[Tensor] = []
    with image_progress() as progress, trainer.precision_plugin.forward_context(), torch.no_grad():
        task = progress.add_task("embedding training images", total=len(rows))
        for batch, sample in zip(batches, backend.read(iter(batches)), strict=True):
            dataset.check_readable()
            if sample:
                image = to_float_images(sample)["image"].to(device)
                embedded.append(torch.stack([embed(image), embed(image.flip(-1))], dim=1).float().cpu())
            progress.advance(task, len(batch))
    backend.close()
    if not embedded:
        raise UserError(f"{dataset.name}: none of the {len(rows):,} images can be read")
    readable = [i for i, row in enumerate(rows.tolist()) if row not in dataset.unreadable]
    features = torch.full((len(rows), *embedded[0].shape[1:]), torch.nan)
    features[readable] = torch.cat(embedded)
    return features
