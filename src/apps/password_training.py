"""What ``train.py`` runs for the password transformer."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.apps.result_rows import describe_results
from src.apps.run import build_trainer, first_step_of, write_outputs
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import to_float_images
from src.errors import UserError, check_choice
from src.eval.score import BenchmarkScore
from src.losses.password import SCALARS
from src.models.networks.password_transformer.calibration import calibrate, has_batch_norms
from src.models.password_transformer import FaceIdentityTransformer
from src.ops.library import log_backends

__all__ = ["train_password_transformer"]

log = logging.getLogger(__name__)

# The datamodules of all methods can embed the images of benchmarks.
warnings.filterwarnings("ignore", r"You passed in a `val_dataloader` but have no `validation_step`")

_BATCHES, _FACES = 16, 16
"""That batch norms are calibrated on."""


def train_password_transformer(config: DictConfig, checkpoint: Path | None) -> float:
    """Train, and leave checkpoints, ``metrics.csv`` and pictures in the folder of the run.

    Batch norms are calibrated at the end, so that ``last.ckpt`` can be used on single faces.

    Args:
        config: Composed config of a password transformer.
        checkpoint: To continue from; None to start.

    Returns:
        The logged scalar that ``monitor`` names, as it was last; NaN where it is null.

    Raises:
        UserError: Something in the config or the data is wrong; raised before training. Or numbers overflowed in it.
    """
    _check_trainer(config.trainer)
    if checkpoint is None:
        _check_recogniser(config.model.recogniser_file)
    if config.monitor is not None:
        check_choice("monitor", config.monitor, SCALARS)
    log_backends()
    L.seed_everything(config.seed, workers=True, verbose=False)
    trainer = build_trainer(config, first_step_of(checkpoint))
    datamodule: FaceDataModule = instantiate(config.datamodule)
    datamodule.prepare_data()
    module: FaceIdentityTransformer = instantiate(config.model, _convert_="all")
    module.save_hyperparameters(OmegaConf.to_container(config, resolve=True))
    module.check_ready(datamodule)
    module.prepare(datamodule.num_classes, config.init_from, continues=checkpoint is not None)
    log.info("%s images of %s people", f"{datamodule.num_samples:,}", f"{datamodule.num_classes:,}")
    start = time.perf_counter()
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    last = Path(config.paths.output_dir) / "checkpoints" / "last.ckpt"
    if has_batch_norms(module.transformer):
        random = torch.Generator().manual_seed(config.seed)
        module.to(trainer.strategy.root_device)
        calibrate(module.transformer, _faces(datamodule, random, module.device), random)
        trainer.save_checkpoint(last)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if trainer.is_global_zero:
        scores = {"training": BenchmarkScore(logged)}
        row = describe_results(config, trainer, scores, label="last", checkpoint=last, start=start)
        write_outputs(config, trainer, datamodule, [row])
    return logged.get(config.monitor or "", math.nan)


def _check_trainer(trainer: DictConfig) -> None:
    for key, expected in (("gradient_clip_val", None), ("accumulate_grad_batches", 1)):
        if trainer[key] != expected:
            wanted = "null" if expected is None else expected
            raise UserError(
                f"trainer.{key}={trainer[key]}: expected {wanted}; this method has two optimisers of its own"
            )


def _check_recogniser(path: str | None) -> None:
    if path is not None and not Path(path).is_file():
        raise UserError(
            f"model.recogniser_file={path}: there is no such file. It holds the recogniser that the transformer learns "
            "to mislead: train one on the same data by experiment=arcface (for embedded faces: python train.py "
            "experiment=arcface faces=password64 name=password_recogniser benchmark=[lfw]), give weights that you "
            "have, or null for random ones"
        )


def _faces(datamodule: FaceDataModule, random: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Batches of random faces, or the same ones again where there are few."""
    for _ in range(_BATCHES):
        rows = torch.randint(datamodule.num_samples, (_FACES,), generator=random)
        yield to_float_images(datamodule.dataset.read(rows.tolist()))["image"].to(device)
