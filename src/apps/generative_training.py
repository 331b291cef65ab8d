"""What ``train.py`` runs for methods that make faces instead of embedding them."""

from __future__ import annotations

import logging
import math
import time
import warnings
from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.apps.generative_evaluation import describe_generator, metrics_callback
from src.apps.generator_settings import fill_from_preset
from src.apps.run import build_trainer, first_step_of, write_outputs
from src.callbacks.generative_metrics import Measured
from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.errors import UserError
from src.models.arcbifacegan import ArcBiFaceGAN
from src.ops.library import log_backends

__all__ = ["train_generator"]

log = logging.getLogger(__name__)

# The datamodules of all methods can embed the images of benchmarks.
warnings.filterwarnings("ignore", r"You passed in a `val_dataloader` but have no `validation_step`")


def train_generator(config: DictConfig, checkpoint: Path | None) -> float:
    """Train, and leave checkpoints, ``metrics.csv`` and pictures in the folder of the run.

    Args:
        config: Composed config of a generator.
        checkpoint: To continue from; None to start.

    Returns:
        The metric that ``monitor`` names, as it was last; NaN where it is null or not measured.

    Raises:
        UserError: Something in the config or the data is wrong; raised before training. Or numbers overflowed in it.
    """
    _check_trainer(config.trainer)
    fill_from_preset(config)
    log_backends()
    L.seed_everything(config.seed, workers=True, verbose=False)
    trainer = build_trainer(config, first_step_of(checkpoint))
    _check_monitor(config.monitor, trainer)
    datamodule: PairedFacesDataModule = instantiate(config.datamodule)
    datamodule.prepare_data()
    module: ArcBiFaceGAN = instantiate(config.model, _convert_="all")
    module.save_hyperparameters(OmegaConf.to_container(config, resolve=True))
    module.check_ready(datamodule)
    if config.init_from is not None and checkpoint is None:
        module.load_networks(config.init_from)
    log.info("%s pairs of images of %s people", f"{datamodule.num_samples:,}", f"{datamodule.num_classes:,}")
    start = time.perf_counter()
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        output = Path(config.paths.output_dir)
        last = output / "checkpoints" / "last.ckpt"
        callback = metrics_callback(trainer)
        measured = Measured() if callback is None else callback.measured
        row = describe_generator(config, trainer, measured, label="last", checkpoint=last, start=start)
        write_outputs(config, trainer, datamodule, [row])
        print(f"Images: {output / 'samples'}")
    value = trainer.callback_metrics.get(config.monitor or "")
    return math.nan if value is None else float(value)


def _check_trainer(trainer: DictConfig) -> None:
    for key, expected, instead in (
        ("gradient_clip_val", None, "nothing clips the gradients of this method"),
        ("accumulate_grad_batches", 1, "model.micro_batch divides batches that are too large for a device"),
    ):
        if trainer[key] != expected:
            wanted = "null" if expected is None else expected
            raise UserError(f"trainer.{key}={trainer[key]}: expected {wanted}; {instead}")


def _check_monitor(monitor: str | None, trainer: L.Trainer) -> None:
    """Raise UserError unless the metric is one that is measured in the course of the training."""
    callback = metrics_callback(trainer)
    names = [] if callback is None else callback.metric_names
    if monitor is not None and monitor not in names:
        raise UserError(
            f"monitor={monitor}: expected null or a metric that is measured at intervals, of which the lowest is the "
            f"best.\nChoices: {', '.join(names) or 'none'}. FID and others come with a network for their features: "
            "+extractor@callbacks.metrics.extractors.NAME=recogniser callbacks.metrics.extractors.NAME.path=FILE"
        )
