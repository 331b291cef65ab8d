"""What ``train.py`` runs for methods that make faces instead of embedding them."""

from __future__ import annotations

import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.apps.result_rows import describe_results
from src.apps.run import build_trainer, first_step_of, write_outputs
from src.callbacks.generative_metrics import METRICS
from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.errors import UserError
from src.eval.score import BenchmarkScore
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.gan_presets import Preset, find_preset
from src.ops.library import log_backends

__all__ = ["fill_from_preset", "train_generator"]

log = logging.getLogger(__name__)

# The datamodules of all methods can embed the images of benchmarks.
warnings.filterwarnings("ignore", r"You passed in a `val_dataloader` but have no `validation_step`")

_PUBLISHED_NIR_DISCRIMINATOR = {"channel_base": 16_384, "group_size": 4, "precision": "fp16", "conv_clamp": 256}
"""What the published code has whatever is set for the other networks."""

_TRANSFER_ADAPTATION_KIMG, _ADAPTATION_KIMG = 100.0, 500.0


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
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if trainer.is_global_zero:
        output = Path(config.paths.output_dir)
        measured = {name.removeprefix(METRICS): value for name, value in metrics.items() if name.startswith(METRICS)}
        scores = {"generation": BenchmarkScore(measured)}
        last = output / "checkpoints" / "last.ckpt"
        row = describe_results(config, trainer, scores, label="last", checkpoint=last, start=start)
        write_outputs(config, trainer, datamodule, [row])
        print(f"Images: {output / 'samples'}")
    return metrics.get(config.monitor or "", math.nan)


def _check_trainer(trainer: DictConfig) -> None:
    for key, expected, instead in (
        ("gradient_clip_val", None, "nothing clips the gradients of this method"),
        ("accumulate_grad_batches", 1, "model.micro_batch divides batches that are too large for a device"),
    ):
        if trainer[key] != expected:
            wanted = "null" if expected is None else expected
            raise UserError(f"trainer.{key}={trainer[key]}: expected {wanted}; {instead}")


def fill_from_preset(config: DictConfig) -> None:
    """Replace what is null in the config by what its ``model.preset`` says, in place.

    Raises:
        UserError: There is no such preset, or its batch cannot be shared out among the devices.
    """
    devices = _device_count(config.trainer.devices) * config.trainer.num_nodes
    preset = find_preset(config.model.preset, config.datamodule.size, devices)
    if preset.batch % devices:
        raise UserError(
            f"model.preset={config.model.preset}: its batch of {preset.batch} images cannot be shared out among "
            f"{devices} devices; choose another number, or set datamodule.batch_size, images of one device"
        )
    for key, value in _settings(preset, devices, config).items():
        if OmegaConf.select(config, key) is None:
            OmegaConf.update(config, key, value)
    if config.model.objectives.parity_quirks:
        config.model.nir_discriminator.update(_PUBLISHED_NIR_DISCRIMINATOR)
    del config.model.preset


def _settings(preset: Preset, devices: int, config: DictConfig) -> dict[str, Any]:
    is_transfer = config.init_from is not None
    per_device = preset.batch // devices
    batch = config.datamodule.batch_size or per_device
    settings: dict[str, Any] = {
        "datamodule.batch_size": batch,
        "model.micro_batch": preset.micro_batch if batch % preset.micro_batch == 0 else batch,
        "model.kimg": preset.kimg,
        "model.lr": preset.lr,
        "model.averaging.kimg": preset.average_kimg,
        "model.averaging.ramp": None if is_transfer else preset.average_ramp,
        "model.objectives.r1_gamma": preset.r1_gamma,
        "model.objectives.path_length_weight": preset.path_length_weight,
        "model.objectives.style_mixing": preset.style_mixing,
        "model.generator.channel_base": preset.channel_base,
        "model.generator.mapping_layers": preset.mapping_layers,
    }
    if config.model.adaptation is not None:
        settings["model.adaptation.kimg"] = _TRANSFER_ADAPTATION_KIMG if is_transfer else _ADAPTATION_KIMG
    shared = {"channel_base": preset.channel_base, "group_size": preset.group_size, "architecture": preset.architecture}
    for name in ("discriminator", "nir_discriminator"):
        settings |= {f"model.{name}.{key}": value for key, value in shared.items()}
    return settings


def _device_count(devices: Any) -> int:
    if isinstance(devices, ListConfig):
        return len(devices)
    if str(devices) in ("auto", "-1"):
        return max(torch.cuda.device_count(), 1)
    return int(devices) if str(devices).isdigit() else len(str(devices).split(","))
