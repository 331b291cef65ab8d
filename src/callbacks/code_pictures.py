"""Pictures of how index codes develop in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from src.eval.figures.codes import entropy_figure, hardest_figure, symbol_figure
from src.eval.report import IMAGES
from src.models.embedding_module import EmbeddingModule
from src.ops.symbol_statistics import symbol_counts

__all__ = ["CodePictures"]

_POSITIVE, _NEGATIVE = "train/hardest_positive_degrees", "train/hardest_negative_degrees"


class CodePictures(L.Callback):
    """Draws the angles that the loss acts on, and how often each symbol occurs in the codes of the benchmarks' images.

    Drawn at the end of every validation and of training, each time anew; the report page shows them, and loggers that
    get the figures of the report get them too.

    Args:
        folder: ``figures/`` of the run.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._hardest: dict[int, tuple[float, float]] = {}
        self._counts: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """The angles so far, which a continued run goes on from."""
        return {"hardest": [[step, *angles] for step, angles in self._hardest.items()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the angles of the run that is continued."""
        self._hardest = {step: (positive, negative) for step, positive, negative in state_dict["hardest"]}

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the angles of a step that is logged."""
        is_logged = trainer.global_step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if is_logged and _POSITIVE in trainer.callback_metrics:
            metrics = trainer.callback_metrics
            self._hardest[trainer.global_step] = (float(metrics[_POSITIVE]), float(metrics[_NEGATIVE]))

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count from the beginning."""
        self._counts = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the symbols of a batch of codes."""
        alphabet = cast(EmbeddingModule, pl_module).alphabet
        if trainer.state.fn == TrainerFn.FITTING and alphabet is not None:
            counts = symbol_counts(outputs["embedding"], alphabet)
            self._counts = counts if self._counts is None else self._counts + counts

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw what was counted, and the angles."""
        if self._counts is None:
            return
        counts = trainer.strategy.reduce(self._counts, reduce_op="sum")
        if trainer.is_global_zero:
            symbol_figure(self._path("symbols"), torch.as_tensor(counts).cpu())
            entropy_figure(self._path("entropy"), torch.as_tensor(counts).cpu())
            self._draw_hardest()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the angles up to the last step."""
        if trainer.is_global_zero:
            self._draw_hardest()

    def _draw_hardest(self) -> None:
        if self._hardest:
            positive, negative = zip(*self._hardest.values(), strict=True)
            hardest_figure(self._path("hardest_pairs"), list(self._hardest), positive, negative)

    def _path(self, name: str) -> Path:
        return self._folder / IMAGES.format(f"codes_{name}")
