"""StyleGAN2 for pairs of images in visible light and near infrared (Karras et al. 2020; ArcBiFaceGAN)."""

from __future__ import annotations

from src.models.networks.stylegan2.discriminator import Discriminator
from src.models.networks.stylegan2.generator import Generator
from src.models.networks.stylegan2.mapping import MappingNetwork
from src.models.networks.stylegan2.synthesis import SynthesisNetwork

__all__ = ["Discriminator", "Generator", "MappingNetwork", "SynthesisNetwork"]
