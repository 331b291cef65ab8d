"""Pictures of what a generator makes, in the course of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.datamodules.sample import to_float_images
from src.eval.figures.canvas import Figure
from src.eval.generative.features import three_channels
from src.eval.pictures import image_grid
from src.eval.report import IMAGES
from src.models.arcbifacegan import ArcBiFaceGAN
from src.models.networks.stylegan2 import Generator

__all__ = ["GeneratedFaces", "is_due", "rows_of_people"]


class GeneratedFaces(L.Callback):
    """Draws one row for each of some identities: visible images on the left, their near-infrared twins on the right.

    Identities and latent codes stay the same from picture to picture; all rows have the same latent codes, and the
    noise is constant. ``reals.png`` shows images of the same people, ``fakes_init.png`` is from before the training,
    ``fakes000200.png`` from after 200 thousand images. Loggers that take pictures get them, and the report shows the
    first and the last.

    Args:
        folder: Where the pictures go.
        figures: ``figures/`` of the run, which the report shows.
        every_kimg: Thousand images from one picture to the next; there is one at the end, too.
        identities: Rows.
        samples: Images of each identity.
        seed: Of the people and of the latent codes.
    """

    def __init__(
        self,
        folder: Path | str,
        figures: Path | str,
        every_kimg: float = 200,
        identities: int = 8,
        samples: int = 4,
        seed: int = 0,
    ) -> None:
        self._folder, self._figures = Path(folder), Path(figures)
        self._every_kimg = every_kimg
        self._identities, self._samples, self._seed = identities, samples, seed

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw real images, and those of the untrained generator."""
        module = cast(ArcBiFaceGAN, pl_module)
        if module.images == 0 and trainer.is_global_zero:
            _log(trainer, self.draw_real(self._folder / "reals.png", _data(trainer)))
            self.draw_real(self._figures / IMAGES.format("training"), _data(trainer))
            _log(trainer, self._draw_average(self._folder / "fakes_init.png", trainer))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw if it is time to."""
        module = cast(ArcBiFaceGAN, pl_module)
        if trainer.is_global_zero and is_due(module, self._every_kimg, len(batch["image"]) * trainer.world_size):
            _log(trainer, self._draw_average(self._path(module), trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what the training ended with."""
        if trainer.is_global_zero:
            _log(trainer, self._draw_average(self._path(cast(ArcBiFaceGAN, pl_module)), trainer))
            self._draw_average(self._figures / IMAGES.format("generated"), trainer)

    def draw_real(self, path: Path, data: PairedFacesDataModule) -> Figure:
        """Draw images of the people whose identities `draw_generated` gives to a generator.

        Args:
            path: PNG file.
            data: What is trained on.
        """
        rows = np.concatenate(rows_of_people(data, self._identities, self._samples, self._seed))
        images = to_float_images(data.dataset.read(rows.tolist()))
        return self._draw(path, "Real faces", images["image"], images["nir"])

    def draw_generated(self, path: Path, generator: Generator, data: PairedFacesDataModule, label: str = "") -> Figure:
        """Draw what a generator makes.

        Args:
            path: PNG file.
            generator: In evaluation mode.
            data: What is trained on.
            label: Name of the generator beside others.
        """
        rows = rows_of_people(data, self._identities, 1, self._seed)
        device = next(generator.parameters()).device
        random = torch.Generator().manual_seed(self._seed)
        z = torch.randn(self._samples, generator.z_dim, generator=random).repeat(len(rows), 1)
        c = None
        if generator.c_dim:
            c = data.label_bank.labels[np.concatenate(rows)].repeat_interleave(self._samples, dim=0).to(device)
        with torch.inference_mode():
            images = generator(z.to(device), c, noise_mode="const")
        return self._draw(path, f"Generated faces ({label})" if label else "Generated faces", *images)

    def _draw_average(self, path: Path, trainer: L.Trainer) -> Figure:
        return self.draw_generated(path, cast(ArcBiFaceGAN, trainer.lightning_module).average, _data(trainer))

    def _path(self, module: ArcBiFaceGAN) -> Path:
        return self._folder / f"fakes{module.images // 1000:06d}.png"

    def _draw(self, path: Path, kind: str, vis: Tensor, nir: Tensor) -> Figure:
        sides = [part.unflatten(0, (-1, self._samples)) for part in (vis, three_channels(nir))]
        images = torch.stack(sides, dim=1)
        title = f"{kind}: visible light on the left, near infrared on the right"
        alt = f"{title}; each of {len(images)} rows shows one identity."
        return image_grid(path, images.flatten(0, 2), title=title, alt=alt, columns=2 * self._samples)


def rows_of_people(data: PairedFacesDataModule, people: int, samples: int, seed: int) -> list[np.ndarray]:
    """Images of some people, to show and to make others of their identities.

    Args:
        data: Has the images.
        people: How many people, or all where there are fewer.
        samples: Images of each; where there are fewer they repeat.
        seed: Of the choice of people.

    Returns:
        int64 [samples] rows of the data set for each of the people.
    """
    labels = data.dataset.source.labels
    chosen = np.random.default_rng(seed).permutation(np.unique(labels))[:people]
    return [np.resize(np.flatnonzero(labels == person), samples) for person in chosen]


def is_due(module: ArcBiFaceGAN, every_kimg: float, batch: int) -> bool:
    """Whether the last ``batch`` images completed another ``every_kimg`` thousand."""
    every = max(round(every_kimg * 1000), 1)
    return module.images // every != (module.images - batch) // every


def _log(trainer: L.Trainer, figure: Figure) -> None:
    kind = "reals" if figure.path.stem == "reals" else "fakes"
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(kind, [str(figure.path)], step=trainer.global_step, caption=[figure.title])
        elif isinstance(logger, TensorBoardLogger):
            pixels = np.asarray(Image.open(figure.path).convert("RGB"))
            logger.experiment.add_image(kind, pixels, trainer.global_step, dataformats="HWC")


def _data(trainer: L.Trainer) -> PairedFacesDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]
