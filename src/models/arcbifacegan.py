"""ArcBiFaceGAN: identity-conditioned StyleGAN2 that makes visible and near-infrared faces (Tomasevic et al. 2024)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam

from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.datamodules.sample import Sample
from src.errors import UserError
from src.losses.stylegan import nir_weight_at
from src.models.gan_diagnosis import explain_not_finite
from src.models.gan_optimization import average_decay, lazy_adam, replace_non_finite_gradients, update_average
from src.models.gan_phases import PHASES, Objectives, PhaseInput, Phases, trained_in
from src.models.gan_schedule import Adaptation, Averaging, Means
from src.models.gan_synchronization import average_gradients, average_over_processes
from src.models.gan_transfer import transfer_weights
from src.models.networks.adaptive_augmentation import AugmentPipe, adapted_probability
from src.models.networks.stylegan2 import Discriminator, Generator
from src.ops.collectives import process_count, sum_over_processes

__all__ = ["ArcBiFaceGAN"]

log = logging.getLogger(__name__)

_TRAINED = ("generator", "discriminator", "nir_discriminator")
_ADA = "Loss/signs/real"


class ArcBiFaceGAN(L.LightningModule):
    """Trains a generator of pairs of images against two discriminators, one for each spectrum.

    An iteration is one batch: every phase of `src.models.gan_phases.PHASES` that is due, the moving average of the
    generator, and the probability of augmentations. The Trainer's step counts iterations. The networks choose their
    own precision, so the Trainer's is ``32-true``. All that the next iteration depends on is in the checkpoint, apart
    from random numbers and the position in the data, which a callback and the datamodule keep.

    Args:
        generator: Its moving average is what images are made with after training.
        discriminator: Of visible images, given identity features if it has a ``c_dim``.
        nir_discriminator: Of near-infrared images, without conditions.
        augment: Of all images that the discriminators see; None for none.
        objectives: Weights of the losses.
        kimg: Train on so many thousand images.
        lr: Learning rate of Adam, of all networks.
        betas: Of Adam.
        nir_weight: Weight of the near infrared in the generator's loss by the number of thousand images from which on
            it holds, or one for all of the training.
        adaptation: How the probability of augmentations follows the discriminator; None: it stays as it is.
        p: Probability of augmentations at first.
        averaging: Of the generator.
        micro_batch: Images of a process that go through the networks at once; the gradients of several are averaged.
            None for all.

    Attributes:
        average: The generator with averaged parameters, always in evaluation mode.
        images: Training images so far, of all processes.
        iterations: Iterations so far.

    Raises:
        UserError: An argument is not as said.
    """

    path_length_mean: Tensor
    sign_sum: Tensor
    sign_count: Tensor

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        nir_discriminator: Discriminator,
        augment: AugmentPipe | None,
        objectives: Objectives,
        *,
        kimg: float,
        lr: float,
        betas: tuple[float, float] = (0.0, 0.99),
        nir_weight: Mapping[int, float] | float = 0.1,
        adaptation: Adaptation | None = None,
        p: float = 0.0,
        averaging: Averaging,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator, self.nir_discriminator = generator, discriminator, nir_discriminator
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)
        self.augment = augment
        if augment is not None:
            augment.p.fill_(p)
        self.phases = Phases(generator, discriminator, nir_discriminator, augment or nn.Identity(), objectives)
        self.objectives, self.adaptation, self.averaging = objectives, adaptation, averaging
        self.kimg, self.lr, self.betas, self.micro_batch = kimg, lr, (betas[0], betas[1]), micro_batch
        schedule = nir_weight if isinstance(nir_weight, Mapping) else {0: nir_weight}
        self.nir_weight = {int(start): float(weight) for start, weight in schedule.items()}
        nir_weight_at(self.nir_weight, 0)
        self.images = self.iterations = 0
        for name in ("path_length_mean", "sign_sum", "sign_count"):
            self.register_buffer(name, torch.zeros(()))
        self._means = Means()

    def forward(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0) -> tuple[Tensor, Tensor]:
        """Images of the averaged generator, see `Generator.forward`; its noise is the same at every call."""
        return self.average(z, c, truncation_psi, noise_mode="const")

    def train(self, mode: bool = True) -> Self:
        """Change the mode of what is trained."""
        super().train(mode)
        self.average.eval()
        return self

    def configure_optimizers(self) -> list[Adam]:
        """Adam for each network, corrected for lazy regularisation (Karras et al. 2020, appendix B)."""
        made = []
        for name in _TRAINED:
            interval = self.objectives.interval("Greg" if name == "generator" else "Dreg")
            lr, betas = lazy_adam(self.lr, self.betas, interval)
            made.append(Adam(self.get_submodule(name).parameters(), lr=lr, betas=betas, eps=1e-8))
        return made

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how far the training is."""
        checkpoint["progress"] = {"images": self.images, "iterations": self.iterations}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        self.images, self.iterations = checkpoint["progress"]["images"], checkpoint["progress"]["iterations"]

    def load_networks(self, path: Path | str) -> None:
        """Start from the networks of a file, see `src.models.gan_transfer`.

        Raises:
            UserError: The file is missing, damaged, or nothing in it fits.
        """
        networks = {name: self.get_submodule(name) for name in (*_TRAINED, "average")}
        for line in transfer_weights(networks, path):
            log.info("%s", line)

    def check_ready(self, datamodule: PairedFacesDataModule) -> None:
        """Raise UserError, before any long work, where training on this data could only fail."""
        if datamodule.size != self.generator.resolution:
            raise UserError(
                f"datamodule.size={datamodule.size}: expected {self.generator.resolution}, the generator's resolution"
            )
        size = self.generator.c_dim
        wanted = ("image", "nir", "feature") if size else ("image", "nir")
        if not set(wanted) <= set(datamodule.fields):
            raise UserError(
                f"datamodule.fields: expected {', '.join(wanted)}, found {', '.join(datamodule.fields)}; a generator "
                "without identities has model.generator.c_dim=0"
            )
        if size and datamodule.label_bank.size != size:
            raise UserError(
                f"model.generator.c_dim={size}: expected {datamodule.label_bank.size}, the length of the identity "
                f"features of {datamodule.dataset.name}"
            )
        batch = datamodule.batch_size
        if self.micro_batch and batch % self.micro_batch:
            raise UserError(
                f"model.micro_batch={self.micro_batch}: expected a divisor of datamodule.batch_size={batch}"
            )
        at_once = self.micro_batch or batch
        for judge in (self.discriminator, self.nir_discriminator):
            group = min(judge.b4.group_size, at_once)
            if at_once % group:
                raise UserError(
                    "model.discriminator.group_size, model.nir_discriminator.group_size: expected a divisor of "
                    f"{at_once} images, found {group}"
                )

    def on_fit_start(self) -> None:
        """Let every process draw random numbers of its own.

        Raises:
            UserError: The Trainer would change the precision.
        """
        trainer = self.trainer
        if trainer.precision != "32-true":
            raise UserError(
                f"trainer.precision={trainer.precision}: expected 32-true; the networks of this method have their own: "
                "model.generator.precision=bf16"
            )
        if trainer.world_size > 1:
            torch.manual_seed(torch.initial_seed() * trainer.world_size + trainer.global_rank)

    def on_train_start(self) -> None:
        """Do nothing more where a continued training has reached its end."""
        self._stop_at_end()

    def training_step(self, batch: Sample, batch_idx: int) -> None:
        """One iteration."""
        size = len(batch["image"])
        z = torch.randn(len(PHASES), size, self.generator.z_dim, device=self.device)
        c = self._draw_identities(len(PHASES) * size)
        cs: Any = [None] * len(PHASES) if c is None else c.unflatten(0, (len(PHASES), size))
        nir_weight = nir_weight_at(self.nir_weight, self.images / 1000)
        for phase, phase_z, phase_c in zip(PHASES, z, cs, strict=True):
            if self.iterations % self.objectives.interval(phase) == 0:
                given = PhaseInput(
                    vis=batch["image"],
                    nir=batch["nir"],
                    real_c=batch["feature"] if self.generator.c_dim else None,
                    z=phase_z,
                    c=phase_c,
                    nir_weight=nir_weight,
                    path_length_mean=self.path_length_mean,
                )
                self._run(phase, given)
        self._check_finite(batch)
        self._finish(size * process_count(), nir_weight)

    def _draw_identities(self, count: int) -> Tensor | None:
        if not self.generator.c_dim:
            return None
        datamodule: PairedFacesDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return datamodule.label_bank.draw(count).to(self.device)

    def _run(self, phase: str, given: PhaseInput) -> None:
        trained = self.get_submodule(trained_in(phase))
        for name in _TRAINED:
            network = self.get_submodule(name)
            network.requires_grad_(network is trained)
        trained.zero_grad(set_to_none=True)
        parts = given.parts(self.micro_batch or len(given.z))
        for part in parts:
            self._note(self.phases.accumulate(phase, part), len(part.z))
        parameters = list(trained.parameters())
        average_gradients(parameters, parts=len(parts))
        replace_non_finite_gradients(parameters)
        optimizer = cast("list[LightningOptimizer]", self.optimizers())[_TRAINED.index(trained_in(phase))]
        # The Trainer counts the steps of its own wrapper: one for an iteration.
        (optimizer if phase == "Gmain" else optimizer.optimizer).step()

    def _note(self, statistics: Mapping[str, Tensor], count: int) -> None:
        self._means.add(statistics)
        if _ADA in statistics:
            self.sign_sum += statistics[_ADA] * count
            self.sign_count += count

    def _check_finite(self, batch: Sample) -> None:
        broken = self._means.not_finite()
        if process_count() > 1:  # all processes end, or the others would wait for this one
            total = sum_over_processes(torch.tensor(float(len(broken)), device=self.device))
            broken = broken or ["numbers of another process"] * bool(total)
        if broken:
            raise UserError(explain_not_finite(self, batch, broken, self._checkpoint()))

    def _checkpoint(self) -> str | None:
        paths = [getattr(callback, "best_model_path", "") for callback in self.trainer.checkpoint_callbacks]
        return next((path for path in paths if path), None)

    def _finish(self, size: int, nir_weight: float) -> None:
        average_over_processes([self.generator.mapping.w_avg, self.path_length_mean])
        decay = average_decay(size, self.images, self.averaging.kimg * 1000, self.averaging.ramp)
        update_average(self.average, self.generator, decay)
        self.images += size
        self.iterations += 1
        self._adapt(size)
        self._log({"Progress/nir_weight": nir_weight, "Progress/ema_decay": decay})
        self._stop_at_end()

    def _log(self, progress: dict[str, float]) -> None:
        kimg = self.images / 1000
        self.log("kimg", kimg, prog_bar=True, logger=False)
        if self.iterations % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        self.log_dict({**self._means.take(), **progress, "Progress/kimg": kimg})
        if self.augment is not None:
            self.log("Progress/augment", self.augment.p, prog_bar=True)

    def _adapt(self, size: int) -> None:
        rule = self.adaptation
        if rule is None or self.augment is None or self.iterations % rule.interval:
            return
        total, count = sum_over_processes(torch.stack([self.sign_sum, self.sign_count]))
        p = adapted_probability(
            self.augment.p,
            total / count,
            size * rule.interval,
            target=rule.target,
            speed=round(rule.kimg * 1000),
            maximum=None if self.objectives.parity_quirks else 1.0,
        )
        self.augment.p.copy_(p)
        self.sign_sum.zero_()
        self.sign_count.zero_()

    def _stop_at_end(self) -> None:
        if self.images >= self.kimg * 1000:
            self.trainer.should_stop = True
