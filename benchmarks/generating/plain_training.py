"""The iteration of ArcBiFaceGAN in plain PyTorch, in the order and with the random numbers of the published program."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.generating.plain_networks import PlainDiscriminator, PlainGenerator
from benchmarks.operators.fir import plain
from src.datamodules.label_bank import LabelBank
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.gan_optimization import average_decay, lazy_adam
from src.models.gan_phases import PHASES, trained_in
from src.models.networks.adaptive_augmentation import geometric

__all__ = ["PlainTraining"]


class PlainTraining:
    """Trains copies of the networks of a module.

    Args:
        module: Of which weights and settings are taken; it is left alone.
        reduced: Type of the highest four resolutions.
        labels: Identity features of which those of generated images are drawn.
    """

    def __init__(self, module: ArcBiFaceGAN, reduced: torch.dtype, labels: LabelBank) -> None:
        self.generator = PlainGenerator(module.generator, reduced)
        self.discriminator = PlainDiscriminator(module.discriminator, reduced)
        self.nir_discriminator = PlainDiscriminator(module.nir_discriminator, reduced)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.augment = copy.deepcopy(module.augment) or torch.nn.Identity()
        self.objectives, self.averaging, self.labels = module.objectives, module.averaging, labels
        self.nir_weight = module.nir_weight[0]
        self.path_length_mean, self.images = torch.zeros(()), 0
        self.optimizers = {}
        for name, regularisation in zip(_NETWORKS, ("Greg", "Dreg", "D_NIRreg"), strict=True):
            lr, betas = lazy_adam(module.lr, module.betas, self.objectives.interval(regularisation))
            parameters = getattr(self, name).parameters()
            self.optimizers[name] = torch.optim.Adam(parameters, lr=lr, betas=betas, eps=1e-8)

    def iteration(self, index: int, vis: Tensor, nir: Tensor, real_c: Tensor) -> dict[str, Tensor]:
        """One iteration; its number tells which phases are due. Returns losses by their published names."""
        size = len(vis)
        z = torch.randn(len(PHASES), size, self.generator.z_dim)
        c = self.labels.draw(len(PHASES) * size).unflatten(0, (len(PHASES), size))
        losses = {}
        with _plain_augmentations():
            for phase, phase_z, phase_c in zip(PHASES, z, c, strict=True):
                if index % self.objectives.interval(phase) == 0:
                    losses |= self._phase(phase, vis, nir, real_c, phase_z, phase_c)
        self._update_average(size)
        return losses

    def _phase(self, phase: str, vis: Tensor, nir: Tensor, real_c: Tensor, z: Tensor, c: Tensor) -> dict[str, Tensor]:
        trained = trained_in(phase)
        for name in _NETWORKS:
            getattr(self, name).requires_grad_(name == trained)
        self.optimizers[trained].zero_grad(set_to_none=True)
        if phase == "Gmain":
            losses = self._generator_loss(z, c)
        elif phase == "Greg":
            losses = self._path_length(z, c)
        else:
            losses = {}
        fakes = self._generate(z, c)  # in all phases, whether they need images or not
        if phase == "Dmain":
            losses = {"Loss/D/loss": self._judge(self.discriminator, fakes[0], c, vis, real_c)}
        elif phase == "D_NIRmain":
            losses = {"Loss/D/loss_NIR": self._judge(self.nir_discriminator, fakes[1], None, nir, None)}
        elif phase == "Dreg":
            losses = self._gradient_penalty(vis, real_c)
        for parameter in getattr(self, trained).parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        self.optimizers[trained].step()
        return {name: value.detach() for name, value in losses.items()}

    def _generate(self, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return self.generator.images(self._styles(z, c))

    def _styles(self, z: Tensor, c: Tensor) -> Tensor:
        ws = self.generator.mapping(z, c)
        cutoff = torch.empty([], dtype=torch.int64).random_(1, ws.shape[1])
        cutoff = torch.where(torch.rand([]) < self.objectives.style_mixing, cutoff, ws.shape[1])
        ws[:, cutoff:] = self.generator.mapping(torch.randn_like(z), c, update=False)[:, cutoff:]
        return ws

    def _generator_loss(self, z: Tensor, c: Tensor) -> dict[str, Tensor]:
        vis, nir = self._generate(z, c)
        logits, nir_logits = self.discriminator(self.augment(vis), c), self.nir_discriminator(self.augment(nir))
        loss = (F.softplus(-logits) + self.nir_weight * F.softplus(-nir_logits)).mean()
        loss.backward()
        return {"Loss/G/loss": loss}

    def _path_length(self, z: Tensor, c: Tensor) -> dict[str, Tensor]:
        count = len(z) // self.objectives.path_length_shrink
        ws = self._styles(z[:count], c[:count])
        vis, nir = self.generator.images(ws)
        noise, nir_noise = (torch.randn_like(image) / math.sqrt(image[0, 0].numel()) for image in (vis, nir))
        (gradient,) = torch.autograd.grad((vis * noise).sum() + (nir * nir_noise).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        mean = self.path_length_mean.lerp(lengths.mean(), self.objectives.path_length_decay)
        self.path_length_mean = mean.detach()
        penalty = (lengths - mean).square().mean() * self.objectives.path_length_weight
        (penalty * self.objectives.generator_interval).backward()
        return {"Loss/G/reg": penalty}

    def _judge(
        self, network: PlainDiscriminator, fakes: Tensor, c: Tensor | None, reals: Tensor, real_c: Tensor | None
    ) -> Tensor:
        fake = F.softplus(network(self.augment(fakes), c)).mean()
        fake.backward()
        real = F.softplus(-network(self.augment(reals), real_c)).mean()
        real.backward()
        return (fake + real).detach()

    def _gradient_penalty(self, vis: Tensor, real_c: Tensor) -> dict[str, Tensor]:
        images = vis.detach().requires_grad_()
        logits = self.discriminator(self.augment(images), real_c)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        penalty = gradient.square().sum([1, 2, 3]).mean() * self.objectives.r1_gamma / 2
        (penalty * self.objectives.discriminator_interval).backward()
        return {"Loss/D/reg": penalty}

    @torch.no_grad()
    def _update_average(self, size: int) -> None:
        decay = average_decay(size, self.images, self.averaging.kimg * 1000, self.averaging.ramp)
        for averaged, parameter in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            averaged.copy_(parameter.lerp(averaged, decay))
        for averaged, buffer in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            averaged.copy_(buffer)
        self.images += size


_NETWORKS = ("generator", "discriminator", "nir_discriminator")


@contextmanager
def _plain_augmentations() -> Iterator[None]:
    with patch.object(geometric, "upsample2d", _upsample2d), patch.object(geometric, "downsample2d", _downsample2d):
        yield


def _upsample2d(x: Tensor, taps: Tensor) -> Tensor:
    half = len(taps) // 2
    return plain(x, taps * 2, 2, 1, (half, half - 1, half, half - 1))


def _downsample2d(x: Tensor, taps: Tensor, padding: int, flip_filter: bool) -> Tensor:
    half = len(taps) // 2
    around = (half - 1 + padding,) * 4
    return plain(x, taps.flip(0) if flip_filter else taps, 1, 2, around)
