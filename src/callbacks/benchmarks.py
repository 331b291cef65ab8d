"""Benchmarks as Lightning validation: during training and in ``eval.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import distributed

from src.eval.embedding import assemble

if TYPE_CHECKING:
    from src.eval.benchmark import BenchmarkScore

__all__ = ["BenchmarkCallback"]


class BenchmarkCallback(L.Callback):
    """Gathers the embeddings of a validation epoch and logs what each benchmark makes of them.

    The datamodule holds the benchmarks and yields one validation loader for each, in the same order; the module's
    ``validation_step`` returns ``index``, ``embedding`` and ``flipped`` of a batch. Every rank embeds its share of the
    images; the shares are gathered once. Metrics are logged as ``val/BENCHMARK/METRIC``; loggers get those of training
    only, so that an evaluation afterwards adds no point to the curves.

    Attributes:
        scores: Result of the latest validation by benchmark name, curves included.
    """

    def __init__(self) -> None:
        self.scores: dict[str, BenchmarkScore] = {}
        self._batches: list[list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collections."""
        self._batches = [[] for _ in trainer.datamodule.benchmarks]  # type: ignore[attr-defined]

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep one batch of embeddings in main memory."""
        flipped = outputs["flipped"]
        self._batches[dataloader_idx].append(
            (
                outputs["index"].cpu(),
                outputs["embedding"].float().cpu(),
                None if flipped is None else flipped.float().cpu(),
            )
        )

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score every benchmark and log its metrics."""
        benchmarks = trainer.datamodule.benchmarks  # type: ignore[attr-defined]
        for (name, benchmark), batches in zip(benchmarks.items(), self._batches, strict=True):
            score = benchmark.score(assemble(_gather(batches)))
            self.scores[name] = score
            metrics = {f"val/{name}/{metric}": value for metric, value in score.metrics.items()}
            pl_module.log_dict(metrics, logger=trainer.state.fn == TrainerFn.FITTING)
        self._batches = []


def _gather(batches: list[Any]) -> list[Any]:
    if not distributed.is_initialized():
        return batches
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, batches)
    return [batch for share in shares for batch in share]
