"""What is null in the config of a generator, and what its preset makes of it."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.errors import UserError
from src.models.gan_presets import Preset, find_preset

__all__ = ["fill_from_preset"]

_PUBLISHED_NIR_DISCRIMINATOR = {"channel_base": 16_384, "group_size": 4, "precision": "fp16", "conv_clamp": 256}
"""What the published code has whatever is set for the other networks."""

_TRANSFER_ADAPTATION_KIMG, _ADAPTATION_KIMG = 100.0, 500.0


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
