"""A training of ArcBiFaceGAN that takes seconds."""

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
from src.datamodules.augmentation import FaceAugmentation
from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.datamodules.sampling import RollingShuffled
from src.datamodules.sources.source import FaceSource
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.gan_phases import Objectives
from src.models.gan_schedule import Adaptation, Averaging
from src.models.networks.adaptive_augmentation import AugmentPipe
from src.models.networks.stylegan2 import Discriminator, Generator

__all__ = ["NETWORK", "SIZE", "fit", "gan", "pairs"]

SIZE, FEATURE = 16, 8
NETWORK: dict[str, Any] = {"resolution": SIZE, "channel_base": 128, "channel_max": 8}


def gan(objectives: dict[str, Any] | None = None, **options: Any) -> ArcBiFaceGAN:
    """A module for images of 16 pixels, of weights that the seed chooses.

    Args:
        objectives: Changes to its objectives.
        options: Changes to its other arguments.
    """
    L.seed_everything(0, verbose=False)
    arguments: dict[str, Any] = {
        "generator": Generator(**NETWORK, z_dim=8, w_dim=8, c_dim=FEATURE, mapping_layers=2),
        "discriminator": Discriminator(**NETWORK, c_dim=FEATURE),
        "nir_discriminator": Discriminator(**NETWORK, image_channels=1),
        "augment": AugmentPipe("blit"),
        "objectives": Objectives(r1_gamma=0.1, **(objectives or {})),
        "kimg": 1.0,
        "lr": 0.0025,
        "adaptation": Adaptation(kimg=1.0),
        "averaging": Averaging(kimg=0.1, ramp=0.05),
    }
    return ArcBiFaceGAN(**(arguments | options))


def _source() -> FaceSource:
    images = {name: [picture(seed + 100 * grey, SIZE, SIZE, grey=bool(grey), kind="PNG") for seed in range(24)]
              for grey, name in enumerate(("image", "nir"))}  # fmt: skip
    features = np.random.default_rng(0).normal(size=(24, FEATURE)).astype(np.float32)
    return MemorySource(images, labels=np.arange(24) // 4, features=features, resolution=SIZE)


def pairs(batch_size: int = 4) -> PairedFacesDataModule:
    """24 pairs of images of 6 people."""
    return PairedFacesDataModule(
        _source,
        size=SIZE,
        batch_size=batch_size,
        num_workers=0,
        backend="cpu",
        sampling=partial(RollingShuffled),
        augmentation=FaceAugmentation(flip=0.5),
    )


def fit(
    module: ArcBiFaceGAN,
    folder: Path,
    *,
    datamodule: PairedFacesDataModule | None = None,
    checkpoint: Path | None = None,
    callbacks: Sequence[L.Callback] = (),
    steps: int = -1,
    **options: Any,
) -> L.Trainer:
    """Train; a checkpoint ``last.ckpt`` is written every two iterations.

    Args:
        module: What to train.
        folder: For the checkpoint and ``metrics.csv``.
        datamodule: By default `pairs`.
        checkpoint: To continue from.
        callbacks: More than those for checkpoints and random numbers.
        steps: Iterations; by default the module decides.
        options: Of the Trainer.
    """
    saved = ModelCheckpoint(dirpath=folder, filename="last", every_n_train_steps=2, enable_version_counter=False)
    trainer = L.Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=options.pop("logger", False),
        callbacks=[saved, RandomState(), *callbacks],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(module, datamodule=datamodule or pairs(), ckpt_path=checkpoint, weights_only=True)
    return trainer
