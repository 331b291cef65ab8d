"""How good generated images are, in the course of the training of a generator and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from src.callbacks.generated_faces import is_due, rows_of_people
from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.datamodules.sample import to_float_images
from src.errors import UserError
from src.eval.generative.identities import IdentityScores
from src.eval.generative.metrics import GenerativeMetrics
from src.eval.generative.path_length import StyleGenerator, feature_distance, perceptual_path_length
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.networks.stylegan2 import Generator

__all__ = ["METRICS", "GenerativeMetricsCallback", "Measured"]

METRICS = "Metrics/"
"""What the names of logged metrics begin with."""

_BATCH = 64
_FEWEST = 10  # that the Inception score can be split into


@dataclass(frozen=True)
class Measured:
    """What was found of a generator.

    Attributes:
        metrics: Numbers by name.
        identities: How alike synthetic people are, by extractor that tells people apart.
        real: Likewise, of real people.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    identities: dict[str, IdentityScores] = field(default_factory=dict)
    real: dict[str, IdentityScores] = field(default_factory=dict)


class GenerativeMetricsCallback(L.Callback):
    """Logs ``Metrics/NAME`` for the averaged generator, at intervals and at the end; see `GenerativeMetrics`.

    The first process computes them; random numbers of the training are left as they were.

    Args:
        every_kimg: Thousand training images from one time to the next.
        images: How many are generated, and, where there are so many, how many real ones they are compared with.
        extractors: Feature extractors by name; without any only the agreement of edges of the pairs is measured.
        identities: Of so many training people images are made, to see whether they are told apart; 0 for none.
        samples: Images of each of them.
        path_samples: Steps that the perceptual path length is measured on, at the end alone; 0 for none.
        at_start: Measure the untrained generator too.
        seed: Of what is generated.

    Attributes:
        measured: What was found last; nothing before, and in other processes.

    Raises:
        UserError: There are too few images, or samples, to measure anything.
    """

    def __init__(
        self,
        every_kimg: float = 200,
        images: int = 10_000,
        extractors: Mapping[str, nn.Module] | None = None,
        identities: int = 100,
        samples: int = 8,
        path_samples: int = 2000,
        at_start: bool = False,
        seed: int = 0,
    ) -> None:
        if extractors and images < _FEWEST:
            raise UserError(f"callbacks.metrics.images: expected at least {_FEWEST}, found {images}")
        if identities == 1 or (identities and samples < 2):
            raise UserError(
                "callbacks.metrics.identities, callbacks.metrics.samples: expected two people or more and two images "
                f"or more of each, or no people; found {identities} and {samples}"
            )
        self._every_kimg, self._images, self._at_start, self._seed = every_kimg, images, at_start, seed
        self._identities, self._samples, self._path_samples = identities, samples, path_samples
        self._metrics = GenerativeMetrics(extractors or {}, seed=seed)
        self._knows_real = False
        self._measured_at = -1
        self.measured = Measured()

    @property
    def metric_names(self) -> list[str]:
        """Names that are logged at intervals."""
        return [f"{METRICS}{name}" for name in self._metrics.names]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """See that real images can be measured, and measure what the training starts from, if that is wanted."""
        module = cast(ArcBiFaceGAN, pl_module)
        if trainer.is_global_zero:
            self.learn_real(_data(trainer), module.device)
        if self._at_start and module.images == 0:
            self._measure(trainer, module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure if it is time to."""
        module = cast(ArcBiFaceGAN, pl_module)
        if is_due(module, self._every_kimg, len(batch["image"]) * trainer.world_size):
            self._measure(trainer, module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure what the training ended with."""
        module = cast(ArcBiFaceGAN, pl_module)
        self._measure(trainer, module)
        if trainer.is_global_zero:
            lengths = self._path_lengths(module.average, _data(trainer))
            self.measured = replace(self.measured, metrics=self.measured.metrics | lengths)
            _log(trainer, module, lengths)

    def learn_real(self, data: PairedFacesDataModule, device: torch.device) -> None:
        """Compute the features of real images, once.

        Args:
            data: Has the images.
            device: Where the extractors work.
        """
        if self._knows_real:
            return
        rows = torch.linspace(0, data.num_samples - 1, min(self._images, data.num_samples)).long().unique()
        labels = torch.from_numpy(data.dataset.source.labels)
        for part in rows.split(_BATCH):
            images = to_float_images(data.dataset.read(part.tolist()))
            vis, nir = (images[name].to(device) for name in ("image", "nir"))
            self._metrics.add(vis, nir, real=True, labels=labels[part])
        self._knows_real = True

    def measure(self, generator: Generator, data: PairedFacesDataModule, *, path_lengths: bool = False) -> Measured:
        """Measure a generator.

        Args:
            generator: In evaluation mode.
            data: What it was trained on, the source of real images and of identities.
            path_lengths: Measure perceptual path lengths, too: ``ppl`` and ``ppl_NIR`` by every extractor.

        Raises:
            UserError: Something that it makes cannot be measured, such as numbers that are not finite.
        """
        device = next(generator.parameters()).device
        self.learn_real(data, device)
        self._metrics.forget_generated()
        random = torch.Generator().manual_seed(self._seed)
        for vis, nir in self._generated(generator, _conditions(generator, data, self._images, random), random):
            self._metrics.add(vis, nir, real=False)
        if generator.c_dim and self._identities:
            rows = [int(row) for row, *_ in rows_of_people(data, self._identities, 1, self._seed)]
            people = torch.arange(len(rows)).repeat_interleave(self._samples)
            images = self._generated(generator, data.label_bank.labels[rows][people], random)
            for (vis, _), labels in zip(images, people.split(_BATCH), strict=True):
                self._metrics.add_identities(vis, labels)
        identities, real = (self._metrics.identities(real=real) for real in (False, True))
        lengths = self._path_lengths(generator, data) if path_lengths else {}
        return Measured(self._metrics.compute() | lengths, identities, real)

    def _path_lengths(self, generator: Generator, data: PairedFacesDataModule) -> dict[str, float]:
        if not self._path_samples:
            return {}
        device = next(generator.parameters()).device
        random = torch.Generator().manual_seed(self._seed)
        conditions = _conditions(generator, data, self._path_samples, random).to(device)
        lengths: dict[str, float] = {}
        for name, extractor in self._metrics.extractors.items():
            distance = feature_distance(extractor.to(device))
            found = perceptual_path_length(cast(StyleGenerator, generator), distance, conditions, seed=self._seed)
            lengths |= {f"ppl@{name}": found.vis, f"ppl_NIR@{name}": found.nir}
        return lengths

    def _measure(self, trainer: L.Trainer, module: ArcBiFaceGAN) -> None:
        if self._measured_at == module.images:
            return
        self._measured_at = module.images
        if trainer.is_global_zero:
            self.measured = self.measure(module.average, _data(trainer))
        # Every process knows what decides about checkpoints.
        _log(trainer, module, trainer.strategy.broadcast(self.measured.metrics))

    def _generated(
        self, generator: Generator, conditions: Tensor, random: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of pairs, one for each of the conditions [N, C]."""
        device = next(generator.parameters()).device
        with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []), torch.inference_mode():
            torch.manual_seed(self._seed)  # of the noise
            for part in conditions.split(_BATCH):
                z = torch.randn(len(part), generator.z_dim, generator=random)
                yield generator(z.to(device), part.to(device))


def _conditions(generator: Generator, data: PairedFacesDataModule, count: int, random: torch.Generator) -> Tensor:
    """Identity features [N, C] of training images that are drawn at random; C is 0 for a generator without any."""
    return data.label_bank.draw(count, random) if generator.c_dim else torch.empty(count, 0)


def _log(trainer: L.Trainer, module: ArcBiFaceGAN, metrics: Mapping[str, float]) -> None:
    named = {f"{METRICS}{name}": value for name, value in metrics.items()}
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in named.items()})
    for logger in trainer.loggers:
        logger.log_metrics({**named, "Progress/kimg": module.images / 1000}, step=trainer.global_step)


def _data(trainer: L.Trainer) -> PairedFacesDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]
