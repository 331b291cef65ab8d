"""Settings that are known to train StyleGAN2, by name, and those that follow from resolution and devices.

Karras et al. 2020, NeurIPS, Training GANs with limited data, appendix C; ``biface256`` is that of ArcBiFaceGAN. Nothing
here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from src.errors import check_choice

__all__ = ["AUTOMATIC", "PRESETS", "Preset", "find_preset"]

AUTOMATIC = ("auto", "auto_512")
"""Presets that follow from resolution and devices; the batch of the second is half as large."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of a training.

    Attributes:
        kimg: Length in thousand training images.
        batch: Images of an iteration, of all devices together.
        micro_batch: Images of one device that go through the networks at once.
        group_size: Images that the discriminators compare.
        channel_base: Channels at a resolution are this divided by the resolution.
        lr: Learning rate before the correction for lazy regularisation.
        r1_gamma: Weight of the gradient penalty.
        average_kimg: Half life of the generator's average in thousand images.
        average_ramp: The half life is no more than this share of the images seen; None for no limit.
        mapping_layers: Of the generator.
        path_length_weight: 0 for no such regularisation.
        style_mixing: Probability.
        architecture: Of the discriminators.
    """

    kimg: float
    batch: int
    micro_batch: int
    group_size: int
    channel_base: int
    lr: float
    r1_gamma: float
    average_kimg: float
    average_ramp: float | None = None
    mapping_layers: int = 8
    path_length_weight: float = 2.0
    style_mixing: float = 0.9
    architecture: str = "resnet"


_PAPER256 = Preset(
    kimg=25_000,
    batch=64,
    micro_batch=8,
    group_size=8,
    channel_base=16_384,
    lr=0.0025,
    r1_gamma=1.0,
    average_kimg=20.0,
)
_STYLEGAN2 = Preset(
    kimg=25_000,
    batch=32,
    micro_batch=4,
    group_size=4,
    channel_base=32_768,
    lr=0.002,
    r1_gamma=10.0,
    average_kimg=10.0,
)

PRESETS: dict[str, Preset] = {
    "biface256": replace(_PAPER256, batch=12, micro_batch=12, group_size=4),
    "stylegan2": _STYLEGAN2,
    "paper256": _PAPER256,
    "paper512": replace(_PAPER256, channel_base=32_768, r1_gamma=0.5),
    "paper1024": replace(_STYLEGAN2, r1_gamma=2.0),
    "cifar": Preset(
        kimg=100_000,
        batch=64,
        micro_batch=32,
        group_size=32,
        channel_base=32_768,
        lr=0.0025,
        r1_gamma=0.01,
        average_kimg=500.0,
        average_ramp=0.05,
        mapping_layers=2,
        path_length_weight=0.0,
        style_mixing=0.0,
        architecture="orig",
    ),
}


def find_preset(name: str, resolution: int, devices: int = 1) -> Preset:
    """Settings by their name.

    Args:
        name: One of `AUTOMATIC` or of `PRESETS`.
        resolution: Side of the images.
        devices: How many train together.

    Raises:
        UserError: There is none of that name.
    """
    check_choice("model.preset", name, [*AUTOMATIC, *PRESETS])
    if name in PRESETS:
        return PRESETS[name]
    batch = max(min(devices * min(4096 // resolution, 32), 64), devices)
    if name == "auto_512":
        batch = max(batch // 2, devices)
    micro_batch = batch // devices
    return Preset(
        kimg=10_000,
        batch=batch,
        micro_batch=micro_batch,
        group_size=min(micro_batch, 4),
        channel_base=32_768 if resolution >= 512 else 16_384,
        lr=0.002 if resolution >= 1024 else 0.0025,
        r1_gamma=0.0002 * resolution**2 / batch,
        average_kimg=batch * 10 / 32,
        average_ramp=0.05,
    )
