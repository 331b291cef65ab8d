"""A training of the password transformer that takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import ModelCheckpoint
from memory_source import MemorySource
from support_source import picture

from src.callbacks.checkpoint_io import AtomicCheckpointIO
from src.callbacks.random_state import RandomState
from src.datamodules.alignment import ARCFACE_TEMPLATE
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sources.source import FaceSource
from src.losses.password import PasswordLoss, PasswordWeights
from src.losses.sphereface_heads import SphereFaceHead
from src.models.networks.mini import MiniFaceNet
from src.models.networks.password_transformer import (
    AlignedRecogniser,
    Discriminators,
    PasswordPredictor,
    PasswordTransformer,
)
from src.models.password_transformer import FaceIdentityTransformer

__all__ = ["faces", "fit", "transformer_module"]

SIZE, PEOPLE, EACH = 64, 4, 4


def transformer_module(
    weights: PasswordWeights | None = None, transformer: dict[str, Any] | None = None, **options: Any
) -> FaceIdentityTransformer:
    """A module for faces of 64 pixels, of weights that the seed chooses; without head.

    Args:
        weights: Of the losses.
        transformer: Changes to the arguments of its transformer, which is robust by default.
        options: Changes to its other arguments.
    """
    L.seed_everything(0, verbose=False)
    shape = {"conditioning": "film", "norm": "group", "channels": 4, "blocks": 1, **(transformer or {})}
    arguments: dict[str, Any] = {
        "transformer": PasswordTransformer(**shape),
        "discriminators": Discriminators(channels=4),
        "predictor": PasswordPredictor(channels=4),
        "recogniser": AlignedRecogniser(MiniFaceNet(8, 32)),
        "head": partial(SphereFaceHead),
        "loss": PasswordLoss(weights),
        "pool_size": 6,
    }
    return FaceIdentityTransformer(**(arguments | options))


def _source() -> FaceSource:
    images = [picture(seed, SIZE, SIZE, kind="PNG") for seed in range(PEOPLE * EACH)]
    points = np.tile(ARCFACE_TEMPLATE.numpy() * SIZE / 112, (len(images), 1, 1)).astype(np.float32)
    return MemorySource({"image": images}, labels=np.arange(len(images)) // EACH, landmarks=points, resolution=SIZE)


def faces(batch_size: int = 4, **options: Any) -> FaceDataModule:
    """Sixteen images of four people, with landmarks."""
    arguments: dict[str, Any] = {"fields": ("image", "label", "landmarks"), "size": SIZE, **options}
    return FaceDataModule(_source, batch_size=batch_size, num_workers=0, backend="cpu", **arguments)


def fit(
    module: FaceIdentityTransformer,
    folder: Path,
    steps: int,
    *,
    checkpoint: Path | None = None,
    callbacks: Sequence[L.Callback] = (),
    **options: Any,
) -> L.Trainer:
    """Train; a checkpoint ``last.ckpt`` is written every two iterations.

    Args:
        module: What to train.
        folder: For the checkpoint.
        steps: Iterations.
        checkpoint: To continue from.
        callbacks: More than those for checkpoints and random numbers.
        options: Of the Trainer.
    """
    saved = ModelCheckpoint(dirpath=folder, filename="last", every_n_train_steps=2, enable_version_counter=False)
    arguments: dict[str, Any] = {"devices": 1, "logger": False, **options}
    trainer = L.Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator="cpu",
        callbacks=[saved, RandomState(), *callbacks],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **arguments,
    )
    if module.head is None:
        module.prepare(PEOPLE)
    trainer.fit(module, datamodule=faces(), ckpt_path=checkpoint, weights_only=True)
    return trainer
