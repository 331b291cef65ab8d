"""The phases of one iteration: which loss each has, and the gradients that it leaves.

Karras et al. 2020, Analyzing and improving the image quality of StyleGAN, section 3; the second discriminator and its
phases are those of ArcBiFaceGAN (Tomasevic et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from src.errors import UserError
from src.losses.stylegan import (
    fake_loss,
    generator_loss,
    path_length_penalties,
    path_length_samples,
    path_lengths,
    projection_noise,
    r1_penalties,
    real_loss,
)
from src.models.networks.stylegan2 import Discriminator, Generator
from src.models.networks.stylegan2.style_mixing import mixed_styles

__all__ = ["PHASES", "Objectives", "PhaseInput", "Phases", "trained_in"]

PHASES = ("Gmain", "Greg", "Dmain", "Dreg", "D_NIRmain", "D_NIRreg")
"""In the order in which they come."""

Statistics = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """Weights of the losses.

    Attributes:
        r1_gamma: Weight of the gradient penalty of both discriminators.
        path_length_weight: Of the generator's regularisation; 0 for none.
        path_length_decay: Of the moving average of path lengths.
        path_length_shrink: Path lengths are measured on one in so many samples.
        style_mixing: Probability that the styles of a batch come from two latent codes.
        generator_interval: Iterations from one regularisation of the generator to the next.
        discriminator_interval: The same of the discriminators.
        parity_quirks: Do as the published code does: no gradient penalty of the near infrared, and in every phase one
            more pass through the generator, which moves the average of w and the random numbers.

    Raises:
        UserError: An interval is below 1.
    """

    r1_gamma: float
    path_length_weight: float = 2.0
    path_length_decay: float = 0.01
    path_length_shrink: int = 2
    style_mixing: float = 0.9
    generator_interval: int = 4
    discriminator_interval: int = 16
    parity_quirks: bool = False

    def __post_init__(self) -> None:
        for name in ("generator_interval", "discriminator_interval", "path_length_shrink"):
            if getattr(self, name) < 1:
                raise UserError(f"model.objectives.{name}: expected at least 1, found {getattr(self, name)}")

    def interval(self, phase: str) -> int:
        """Iterations from one time of a phase to the next."""
        intervals = {"Greg": self.generator_interval, "Dreg": self.discriminator_interval}
        return (intervals | {"D_NIRreg": self.discriminator_interval}).get(phase, 1)


@dataclass(frozen=True, kw_only=True)
class PhaseInput:
    """What a phase works on.

    Attributes:
        vis: Real images [N, 3, R, R] in [-1, 1].
        nir: The same faces in the near infrared [N, 1, R, R].
        real_c: Their identity features [N, c_dim]; None without conditions.
        z: Latent codes [N, z_dim].
        c: Identity features of the images to generate [N, c_dim]; None without conditions.
        nir_weight: Weight of the near infrared in the generator's loss.
        path_length_mean: Moving average of path lengths, a scalar, which a phase may change in place.
    """

    vis: Tensor
    nir: Tensor
    real_c: Tensor | None
    z: Tensor
    c: Tensor | None
    nir_weight: float
    path_length_mean: Tensor

    def parts(self, size: int) -> list[PhaseInput]:
        """The same in parts of ``size`` samples, the last of which may have fewer."""

        def divide(value: Tensor | None) -> Sequence[Tensor | None]:
            return [None] * -(-len(self.z) // size) if value is None else value.split(size)

        divided = [divide(value) for value in (self.vis, self.nir, self.real_c, self.z, self.c)]
        names = ("vis", "nir", "real_c", "z", "c")
        return [replace(self, **dict(zip(names, part, strict=True))) for part in zip(*divided, strict=True)]


class Phases:
    """Computes the gradients of each phase.

    Args:
        generator: In training mode, as are the others.
        discriminator: Of visible images.
        nir_discriminator: Of near-infrared images.
        augment: Applied to all that the discriminators see.
        objectives: Weights of the losses.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        nir_discriminator: Discriminator,
        augment: Callable[[Tensor], Tensor],
        objectives: Objectives,
    ) -> None:
        self.generator, self.discriminator, self.nir_discriminator = generator, discriminator, nir_discriminator
        self.augment, self.objectives = augment, objectives

    def accumulate(self, phase: str, given: PhaseInput) -> Statistics:
        """Add the gradients of a phase to those of its network; only its parameters may require any.

        Args:
            phase: One of `PHASES`.
            given: What it works on.

        Returns:
            Means over the batch by their published names, scalars without gradient. Those of ``Loss/signs`` are of the
            logits.
        """
        made = {
            "Gmain": self._generator_loss,
            "Greg": self._path_length,
            "Dmain": self._discriminator_loss,
            "Dreg": self._gradient_penalty,
            "D_NIRmain": self._nir_discriminator_loss,
            "D_NIRreg": self._nir_gradient_penalty,
        }[phase](given)
        return {name: value.detach().float().mean() for name, value in made.items()}

    def _styles(self, z: Tensor, c: Tensor | None) -> Tensor:
        return mixed_styles(self.generator.mapping, z, c, self.objectives.style_mixing)

    def _generate(self, given: PhaseInput) -> tuple[Tensor, Tensor]:
        return self.generator.synthesis(self._styles(given.z, given.c))

    @torch.no_grad()
    def _generate_in_vain(self, given: PhaseInput) -> None:
        if self.objectives.parity_quirks:
            self._generate(given)

    def _generator_loss(self, given: PhaseInput) -> Statistics:
        vis, nir = self._generate(given)
        logits, nir_logits = self.discriminator(self.augment(vis), given.c), self.nir_discriminator(self.augment(nir))
        loss = generator_loss(logits, nir_logits, given.nir_weight)
        loss.backward()
        self._generate_in_vain(given)
        return {**_judged(logits, "fake"), **_judged(nir_logits, "fake_NIR"), "Loss/G/loss": loss}

    def _path_length(self, given: PhaseInput) -> Statistics:
        objectives = self.objectives
        if objectives.path_length_weight == 0:
            self._generate_in_vain(given)
            return {}
        count = path_length_samples(len(given.z), objectives.path_length_shrink)
        ws = self._styles(given.z[:count], None if given.c is None else given.c[:count])
        images = self.generator.synthesis(ws, force_fp32=True)  # half precision loses second derivatives
        lengths = path_lengths(ws, images, [projection_noise(image) for image in images])
        penalties, mean = path_length_penalties(lengths, given.path_length_mean.clone(), objectives.path_length_decay)
        loss = penalties.mean() * objectives.path_length_weight
        (loss * objectives.generator_interval).backward()
        given.path_length_mean.copy_(mean)
        self._generate_in_vain(given)
        return {"Loss/pl_penalty": penalties, "Loss/G/reg": loss, "Progress/pl_mean": mean}

    def _discriminator_loss(self, given: PhaseInput) -> Statistics:
        with torch.no_grad():
            vis, _ = self._generate(given)
        fake_logits = self.discriminator(self.augment(vis), given.c)
        fake = fake_loss(fake_logits)
        fake.backward()
        real_logits = self.discriminator(self.augment(given.vis), given.real_c)
        real = real_loss(real_logits)
        real.backward()
        return {**_judged(fake_logits, "fake"), **_judged(real_logits, "real"), "Loss/D/loss": fake + real}

    def _nir_discriminator_loss(self, given: PhaseInput) -> Statistics:
        with torch.no_grad():
            _, nir = self._generate(given)
        fake_logits = self.nir_discriminator(self.augment(nir))
        fake = fake_loss(fake_logits)
        fake.backward()
        real_logits = self.nir_discriminator(self.augment(given.nir))
        real = real_loss(real_logits)
        real.backward()
        scores = {**_judged(fake_logits, "fake_NIR"), **_judged(real_logits, "real_NIR")}
        return {**scores, "Loss/D/loss_NIR": fake + real}

    def _gradient_penalty(self, given: PhaseInput) -> Statistics:
        self._generate_in_vain(given)
        images = given.vis.detach().requires_grad_()
        logits = self.discriminator(self.augment(images), given.real_c, force_fp32=True)
        return {**_judged(logits, "real"), **self._penalize(logits, images, "")}

    def _nir_gradient_penalty(self, given: PhaseInput) -> Statistics:
        if self.objectives.parity_quirks:
            self._generate_in_vain(given)
            return {}
        images = given.nir.detach().requires_grad_()
        logits = self.nir_discriminator(self.augment(images), force_fp32=True)
        return {**_judged(logits, "real_NIR"), **self._penalize(logits, images, "_NIR")}

    def _penalize(self, logits: Tensor, images: Tensor, suffix: str) -> Statistics:
        penalties = r1_penalties(logits, images)
        loss = penalties.mean() * (self.objectives.r1_gamma / 2)
        (loss * self.objectives.discriminator_interval).backward()
        return {f"Loss/r1_penalty{suffix}": penalties, f"Loss/D/reg{suffix}": loss}


def trained_in(phase: str) -> str:
    """Name of the network that a phase trains: ``generator``, ``discriminator`` or ``nir_discriminator``."""
    if phase.startswith("G"):
        return "generator"
    return "nir_discriminator" if phase.startswith("D_NIR") else "discriminator"


def _judged(logits: Tensor, kind: str) -> Statistics:
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": logits.detach().sign()}
