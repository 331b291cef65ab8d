"""From a seed and numbers to pairs of images, the same whatever else is in the batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from src.errors import UserError
from src.models.generation.selection import Shot
from src.models.networks.stylegan2 import Generator
from src.models.networks.weights import weights_fingerprint

__all__ = ["GeneratorSynthesiser", "Synthesiser", "identity_vectors", "latent_draws", "to_pixels"]

_PERSON, _IMAGE = 0, 1  # streams of random numbers

_NOISE = ".noise_const"


class Synthesiser(Protocol):
    """Makes pairs of images.

    Attributes:
        z_dim: Length of a latent code.
        c_dim: Length of an identity vector.
        noise_dim: How many normal numbers there are in an image's noise.
        fingerprint: Hex digest that changes when the images do.
    """

    z_dim: int
    c_dim: int
    noise_dim: int
    fingerprint: str

    def __call__(self, z: Tensor, c: Tensor, psi: float, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Make images.

        Args:
            z: float32 [N, z_dim] latent codes.
            c: float32 [N, c_dim] identity vectors.
            psi: Truncation.
            noise: float32 [N, noise_dim].

        Returns:
            Visible light [N, 3, R, R] and near infrared [N, 1, R, R], nominally in [-1, 1], on the CPU.
        """


class GeneratorSynthesiser:
    """A generator on a device, with noise of each image's own.

    Args:
        generator: With the weights to use, conditioned on identity vectors.
        device: Where to run it.

    Raises:
        UserError: The generator takes no identity vectors.
    """

    def __init__(self, generator: Generator, device: torch.device) -> None:
        if generator.c_dim == 0:
            raise UserError("ckpt_path: its generator takes no identity features (c_dim=0); expected one that does")
        self.fingerprint = weights_fingerprint(generator)
        self._generator, self._device = generator.eval().requires_grad_(False).to(device), device
        self.z_dim, self.c_dim = generator.z_dim, generator.c_dim
        self._noise = {name: buffer.shape for name, buffer in generator.named_buffers() if name.endswith(_NOISE)}
        self.noise_dim = sum(shape.numel() for shape in self._noise.values())

    @torch.inference_mode()
    def __call__(self, z: Tensor, c: Tensor, psi: float, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Make images, see `Synthesiser`."""
        # In place of the one constant noise, that of every image: what a layer would draw depends on its batch.
        parts = noise.to(self._device).split([shape.numel() for shape in self._noise.values()], dim=1)
        noises = {
            name: part.view(-1, 1, *shape) for (name, shape), part in zip(self._noise.items(), parts, strict=True)
        }
        codes = (z.to(self._device), c.to(self._device))
        options = {"truncation_psi": psi, "noise_mode": "const"}
        visible, infrared = functional_call(self._generator, noises, codes, options)
        return visible.float().cpu(), infrared.float().cpu()


def identity_vectors(seed: int, people: Sequence[int], size: int, scale: float) -> Tensor:
    """Directions that are uniform on the sphere, each drawn from the numbers of its person alone.

    Args:
        seed: Of the run.
        people: Numbers of the people, from 0.
        size: Length D of a vector.
        scale: Its norm.

    Returns:
        float32 [N, D].
    """
    return scale * F.normalize(_normal([[seed, _PERSON, person] for person in people], size), dim=1)


def latent_draws(seed: int, shots: Sequence[Shot], z_dim: int, noise_dim: int) -> tuple[Tensor, Tensor]:
    """Latent codes float32 [N, z_dim] and noise [N, noise_dim], each drawn from the numbers of its image alone."""
    keys = [[seed, _IMAGE, shot.person, shot.attempt] for shot in shots]
    z, noise = _normal(keys, z_dim + noise_dim).split([z_dim, noise_dim], dim=1)
    return z, noise


def to_pixels(visible: Tensor, infrared: Tensor) -> Tensor:
    """Both images of pairs in one tensor, uint8 [N, 4, R, R], ``clamp(127.5 x + 128)`` truncated."""
    return (torch.cat([visible, infrared], dim=1) * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def _normal(keys: Sequence[Sequence[int]], size: int) -> Tensor:
    """Normal numbers float32 [N, size], each row from a generator that is seeded by a key."""
    result = np.empty((len(keys), size), np.float32)

    def fill(row: int) -> None:
        np.random.default_rng(keys[row]).standard_normal(out=result[row], dtype=np.float32)

    # NumPy releases Python's lock; the noise of large images would keep a GPU waiting.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(fill, range(len(keys))))
    return torch.from_numpy(result)
