"""Arguments of the published networks' constructors as arguments of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from src.errors import UserError
from src.models.networks.stylegan2.synthesis_block import VIS_CHANNELS

__all__ = ["discriminator_arguments", "generator_arguments"]

# Arguments with which our networks do the same, and those that change nothing that a network computes.
_FIXED: dict[str, Any] = {
    "activation": "lrelu",
    "resample_filter": [1, 3, 3, 1],
    "use_noise": True,
    "lr_multiplier": 0.01,
    "w_avg_beta": 0.995,
    "embed_features": None,
    "layer_features": None,
    "cmap_dim": None,
    "mbstd_num_channels": 1,
}
_WITHOUT_EFFECT = ("fp16_channels_last", "freeze_layers")
_DISCRIMINATOR_MAPPING_LAYERS = 8


def generator_arguments(published: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Generator` that build what ``training.networks.Generator`` is with the given ones.

    Raises:
        UserError: There is no such network of ours; the message names the argument.
    """
    options = _Options(published)
    mapping, synthesis = options.inner("mapping_kwargs"), options.inner("synthesis_kwargs")
    channels = options.integer("img_channels")
    if channels != VIS_CHANNELS:
        raise UserError(f"img_channels: expected {VIS_CHANNELS}, colour images, found {channels}")
    arguments = {
        "resolution": options.integer("img_resolution"),
        "z_dim": options.integer("z_dim"),
        "w_dim": options.integer("w_dim"),
        "c_dim": options.integer("c_dim", least=0),
        "mapping_layers": mapping.integer("num_layers", 8, most=100),
        "architecture": synthesis.text("architecture", "skip"),
        **_plan(synthesis),
    }
    for rest in (options, mapping, synthesis):
        rest.finish()
    return arguments


def discriminator_arguments(published: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Discriminator` that build what ``training.networks.Discriminator`` is with the given ones.

    Raises:
        UserError: There is no such network of ours; the message names the argument.
    """
    options = _Options(published)
    mapping, block, epilogue = (options.inner(f"{part}_kwargs") for part in ("mapping", "block", "epilogue"))
    arguments = {
        "resolution": options.integer("img_resolution"),
        "image_channels": options.integer("img_channels"),
        "c_dim": options.integer("c_dim", least=0),
        "architecture": options.text("architecture", "resnet"),
        "group_size": epilogue.integer("mbstd_group_size", 4),
        **_plan(options),
    }
    layers = mapping.integer("num_layers", _DISCRIMINATOR_MAPPING_LAYERS)
    if layers != _DISCRIMINATOR_MAPPING_LAYERS:
        raise UserError(f"mapping_kwargs.num_layers: expected {_DISCRIMINATOR_MAPPING_LAYERS}, found {layers}")
    for rest in (options, mapping, block, epilogue):
        rest.finish()
    return arguments


class _Options:
    """Arguments, taken one by one."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._left = dict(values)

    def take(self, name: str, default: Any) -> Any:
        return self._left.pop(name, default)

    def inner(self, name: str) -> _Options:
        values = self.take(name, {})
        if not isinstance(values, Mapping):
            raise UserError(f"{name}: expected a mapping, found {values!r}")
        return _Options(values)

    def text(self, name: str, default: str) -> str:
        value = self.take(name, default)
        if not isinstance(value, str):
            raise UserError(f"{name}: expected a word, found {value!r}")
        return value

    def integer(self, name: str, default: int | None = None, *, least: int = 1, most: int = 2**20) -> int:
        value = self.take(name, default)
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
            raise UserError(f"{name}: expected a whole number from {least} to {most}, found {value!r}")
        return int(value)

    def finish(self) -> None:
        """Refuse what was not taken, unless our networks do just that."""
        for name, value in self._left.items():
            if name in _WITHOUT_EFFECT:
                continue
            if name not in _FIXED:
                raise UserError(f"{name}={value!r}: unknown to StyleGAN2-ADA")
            if repr(value) != repr(_FIXED[name]):  # an array in its place has no one truth value
                raise UserError(f"{name}: expected {_FIXED[name]!r}, found {value!r}")


def _plan(options: _Options) -> dict[str, Any]:
    reduced = options.integer("num_fp16_res", 0, least=0, most=100)
    clamp = options.take("conv_clamp", None)
    if not isinstance(clamp, int | float | None):
        raise UserError(f"conv_clamp: expected a number or None, found {clamp!r}")
    return {
        "channel_base": options.integer("channel_base", 32768),
        "channel_max": options.integer("channel_max", 512),
        **({"precision": "fp16", "num_reduced_resolutions": reduced} if reduced else {"precision": "fp32"}),
        "conv_clamp": clamp,
    }
