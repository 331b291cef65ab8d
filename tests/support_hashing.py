"""Deep rank hashing on tiny images, for tests of training and of what is made of its checkpoints."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from memory_source import MemorySource
from PIL import Image

from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sampling import IdentityBalanced, Sampling
from src.losses.drh import DRHLoss
from src.models.drh import DRH
from src.models.networks.mini import MiniFaceNet
from src.models.networks.rank_hash import RankHashLayer

__all__ = ["SIZE", "face_data", "fit", "hashing_module", "tiny_backbone"]

SIZE = 16
"""Side of the images in pixels."""


def tiny_backbone(seed: int = 0) -> MiniFaceNet:
    """A network with the batch statistics of images like those of `face_data`, in evaluation mode."""
    torch.manual_seed(seed)
    network = MiniFaceNet(embedding_size=16, size=SIZE)
    with torch.no_grad():
        for _ in range(30):
            network(torch.rand(32, 3, SIZE, SIZE) * 2 - 1)
    return network.eval()


def hashing_module(
    backbone: torch.nn.Module | None = None,
    *,
    layer: dict[str, Any] | None = None,
    loss: dict[str, Any] | None = None,
    lr: float = 0.01,
    **options: Any,
) -> DRH:
    """A module that makes codes of 32 symbols out of 8; ``layer``, ``loss`` and ``options`` change its arguments."""
    backbone = tiny_backbone() if backbone is None else backbone
    torch.manual_seed(1)
    return DRH(
        backbone,
        partial(RankHashLayer, **({"m": 32, "q": 8} | (layer or {}))),
        DRHLoss(**(loss or {})),
        partial(torch.optim.SGD, lr=lr, momentum=0.9, nesterov=True),
        **({"feature_cache": None, "allow_random_backbone": True} | options),
    )


def face_data(
    flip: float = 0.0,
    people: int = 6,
    images: int = 8,
    batch_size: int = 16,
    unreadable: int | None = None,
    sampling: Callable[..., Sampling] = IdentityBalanced,
) -> FaceDataModule:
    """Noisy copies of one random picture per person, in batches of four images each of four people."""
    generator = np.random.default_rng(0)
    files: list[bytes | None] = []
    for picture in generator.integers(0, 256, (people, SIZE, SIZE, 3)):
        noise = generator.normal(0, 25, (images, SIZE, SIZE, 3))
        files += [_encode(np.clip(picture + part, 0, 255).astype(np.uint8)) for part in noise]
    if unreadable is not None:
        files[unreadable] = None
    source = MemorySource({"image": files}, np.repeat(np.arange(people), images), resolution=SIZE)
    return FaceDataModule(
        lambda: source,
        size=SIZE,
        batch_size=batch_size,
        sampling=sampling,
        num_workers=0,
        max_bad_fraction=0.1,
        augmentation=FaceAugmentation(flip=flip),
    )


def fit(
    model: DRH,
    datamodule: FaceDataModule,
    epochs: int = 4,
    callbacks: list[L.Callback] | None = None,
    **options: Any,
) -> L.Trainer:
    """Train on the CPU, quietly."""
    trainer = L.Trainer(
        callbacks=callbacks,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,
    )
    trainer.fit(model, datamodule=datamodule, **options)
    return trainer


def _encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
