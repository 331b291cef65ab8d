"""Pictures of what a password transformer makes of faces, in the course of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.sample import to_float_images
from src.eval.figures.canvas import Figure
from src.eval.pictures import image_grid
from src.eval.report import IMAGES
from src.models.networks.password_transformer import PasswordTransformer
from src.models.networks.password_transformer.passes import transform
from src.models.networks.password_transformer.sampling import DrawnPasswords, draw_passwords
from src.models.password_transformer import FaceIdentityTransformer

__all__ = ["PasswordGrids", "password_columns"]

_TITLE = (
    "Columns: original, anonymised, anonymised with another password, recovered, recovered from the other, and twice "
    "recovered with a wrong password"
)


class PasswordGrids(L.Callback):
    """Draws a row for each of some faces: real, A1, A2, R, another R, WR1 and WR2.

    Faces and passwords stay the same from picture to picture. Loggers that take pictures get them, and the report shows
    the last.

    Args:
        folder: Where the pictures go.
        figures: ``figures/`` of the run, which the report shows.
        every_n_steps: Iterations from one picture to the next; there is one before and one at the end, too.
        faces: Rows.
        seed: Of the faces and the passwords.
    """

    def __init__(
        self, folder: Path | str, figures: Path | str, every_n_steps: int = 1000, faces: int = 8, seed: int = 0
    ) -> None:
        self._folder, self._figures = Path(folder), Path(figures)
        self._every_n_steps, self._faces, self._seed = every_n_steps, faces, seed

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what the untrained network makes."""
        if trainer.global_step == 0:
            self._draw(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw if it is time to."""
        if trainer.global_step % self._every_n_steps == 0:
            self._draw(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what the training ended with."""
        self._draw(trainer, self._figures / IMAGES.format("anonymised"))

    def _draw(self, trainer: L.Trainer, path: Path | None = None) -> None:
        if not trainer.is_global_zero:
            return
        data: FaceDataModule = trainer.datamodule  # type: ignore[attr-defined]
        module = cast(FaceIdentityTransformer, trainer.lightning_module)
        transformer = module.transformer
        random = torch.Generator().manual_seed(self._seed)
        rows = torch.randperm(data.num_samples, generator=random)[: self._faces]
        faces = to_float_images(data.dataset.read(rows.tolist()))["image"].to(module.device)
        passwords = draw_passwords(len(faces), transformer.length, generator=random).to(module.device)
        columns = password_columns(transformer, faces, passwords)
        name = f"epoch_{trainer.current_epoch:03d}_step_{trainer.global_step:06d}.png"
        images, width = columns.transpose(0, 1).flatten(0, 1), len(columns)
        alt = f"{_TITLE}; each of {len(faces)} rows shows one face."
        figure = image_grid(path or self._folder / name, images, title=_TITLE, alt=alt, columns=width)
        _log(trainer, figure)


@torch.no_grad()
def password_columns(transformer: PasswordTransformer, faces: Tensor, passwords: DrawnPasswords) -> Tensor:
    """What there is to see of some faces.

    Args:
        transformer: Used in evaluation mode.
        faces: Float [B, 3, H, W] in [-1, 1].
        passwords: Of each face.

    Returns:
        [7, B, 3, H, W]: the faces, A1, A2, R, A2 recovered, WR1 and WR2.
    """
    training = transformer.training
    transformer.eval()
    made = transform(transformer, faces, passwords)
    second_recovered = transformer(made.second_anonymised, ~passwords.second)
    transformer.train(training)
    first, second, recovered, wrong, second_wrong = made
    return torch.stack([faces, first, second, recovered, second_recovered, wrong, second_wrong])


def _log(trainer: L.Trainer, figure: Figure) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image("faces", [str(figure.path)], step=trainer.global_step, caption=[figure.title])
        elif isinstance(logger, TensorBoardLogger):
            pixels = np.asarray(Image.open(figure.path).convert("RGB"))
            logger.experiment.add_image("faces", pixels, trainer.global_step, dataformats="HWC")
