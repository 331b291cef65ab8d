"""How far generated images are from real ones, in the course of the training of a generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from src.callbacks.generated_faces import is_due
from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.datamodules.sample import to_float_images
from src.eval.generative.metrics import GenerativeMetrics
from src.models.arcbifacegan import ArcBiFaceGAN

__all__ = ["METRICS", "GenerativeMetricsCallback"]

METRICS = "Metrics/"
"""What the names of logged metrics begin with."""

_BATCH = 64


class GenerativeMetricsCallback(L.Callback):
    """Logs ``Metrics/NAME`` for the averaged generator, at intervals and at the end; see `GenerativeMetrics`.

    The first process computes them; random numbers of the training are left as they were.

    Args:
        every_kimg: Thousand training images from one time to the next.
        images: How many are generated, and, where there are so many, how many real ones they are compared with.
        extractors: Feature extractors by name; without any only the agreement of edges of the pairs is measured.
        at_start: Measure the untrained generator too.
        seed: Of what is generated.
    """

    def __init__(
        self,
        every_kimg: float = 200,
        images: int = 10_000,
        extractors: Mapping[str, nn.Module] | None = None,
        at_start: bool = False,
        seed: int = 0,
    ) -> None:
        self._every_kimg, self._images, self._at_start, self._seed = every_kimg, images, at_start, seed
        self._metrics = GenerativeMetrics(extractors or {}, seed=seed)
        self._knows_real = False
        self._measured_at = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure what the training starts from, if that is wanted."""
        module = cast(ArcBiFaceGAN, pl_module)
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
        self._measure(trainer, cast(ArcBiFaceGAN, pl_module))

    def _measure(self, trainer: L.Trainer, module: ArcBiFaceGAN) -> None:
        if not trainer.is_global_zero or self._measured_at == module.images:
            return
        self._measured_at = module.images
        data: PairedFacesDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if not self._knows_real:
            rows = torch.linspace(0, data.num_samples - 1, min(self._images, data.num_samples)).long().unique()
            for part in rows.split(_BATCH):
                images = to_float_images(data.dataset.read(part.tolist()))
                self._metrics.add(images["image"].to(module.device), images["nir"].to(module.device), real=True)
            self._knows_real = True
        self._metrics.forget_generated()
        for vis, nir in self._generated(module, data):
            self._metrics.add(vis, nir, real=False)
        metrics = {f"{METRICS}{name}": value for name, value in self._metrics.compute().items()}
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in metrics.items()})
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)

    def _generated(self, module: ArcBiFaceGAN, data: PairedFacesDataModule) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self._seed)
        devices = [module.device.index or 0] if module.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(self._seed)  # of the noise
            for first in range(0, self._images, _BATCH):
                count = min(_BATCH, self._images - first)
                z = torch.randn(count, module.generator.z_dim, generator=generator).to(module.device)
                c = data.label_bank.draw(count, generator).to(module.device) if module.generator.c_dim else None
                yield module.average(z, c)
