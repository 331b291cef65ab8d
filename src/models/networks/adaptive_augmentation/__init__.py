"""Adaptive discriminator augmentation (Karras et al. 2020, NeurIPS, Training GANs with limited data)."""

from __future__ import annotations

from src.models.networks.adaptive_augmentation.draws import Draws
from src.models.networks.adaptive_augmentation.pipe import PRESETS, AugmentPipe
from src.models.networks.adaptive_augmentation.probability import adapted_probability

__all__ = ["PRESETS", "AugmentPipe", "Draws", "adapted_probability"]
