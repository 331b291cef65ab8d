"""Benchmarks as Lightning validation: during training and in ``eval.py``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import lightning as L
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from src.eval.collector import Collected, Collector
from src.eval.embedding_cache import EmbeddingCache
from src.eval.scoring import Evaluated, score_benchmarks

if TYPE_CHECKING:
    from src.models.embedding_module import EmbeddingModule

__all__ = ["BenchmarkCallback"]

log = logging.getLogger(__name__)


class BenchmarkCallback(L.Callback):
    """Collects the embeddings or codes of a validation epoch; during training, scores them all and logs the metrics.

    The datamodule holds the benchmarks and yields one validation loader for each that is not in `collected` yet, in the
    same order; the module's ``validation_step`` returns ``index``, ``embedding`` and ``flipped`` of a batch. Every
    process embeds its share of the images, and what is collected is joined once. Metrics and privacy metrics are logged
    as ``val/BENCHMARK/METRIC``.

    Attributes:
        cache: Where embeddings are looked up and kept by ``trainer.validate``; None: nowhere.
        collected: What the latest ``trainer.validate`` collected, by benchmark name.
        unprotected: What was evaluated before protection, for the metrics that compare with it; None: they are not
            logged. Only the first process needs it.
        known: What need not be embedded by the next ``trainer.validate``, by benchmark name; only the first process
            needs it.
        unprotected_network: Fingerprint of the network that it is of; empty before any was evaluated.
    """

    def __init__(self) -> None:
        self.cache: EmbeddingCache | None = None
        self.collected: dict[str, Collected] = {}
        self.unprotected: Evaluated | None = None
        self.unprotected_network = ""
        self.known: dict[str, Collected] = {}
        self._collectors: dict[str, Collector] = {}
        self._origins: dict[str, dict[str, str]] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Look up what need not be embedded again; all processes agree on it."""
        self.collected, self._origins = {}, {}
        if stage == TrainerFn.VALIDATING:
            if trainer.is_global_zero:
                self.collected = dict(self.known)
                if self.cache is not None:
                    self._origins = _origins(trainer, pl_module)
                    self.collected |= self._look_up(self.cache)
            names = trainer.strategy.broadcast(list(self.collected))
            self.collected = {name: self.collected.get(name, {}) for name in names}
        trainer.datamodule.embedded = set(self.collected)  # type: ignore[attr-defined]

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with empty collections."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        alphabet = cast("EmbeddingModule", pl_module).alphabet
        self._collectors = {
            name: benchmark.collector(alphabet) for name, benchmark in datamodule.benchmarks_to_embed.items()
        }

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand one batch of embeddings over."""
        collector = list(self._collectors.values())[dataloader_idx]
        collector.add(outputs["index"], outputs["embedding"], outputs["flipped"])

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Join what was collected; score it in training, keep it otherwise."""
        processes = _Processes(trainer.strategy)
        collected = {name: collector.collect(processes) for name, collector in self._collectors.items()}
        self._collectors = {}
        if trainer.state.fn == TrainerFn.FITTING:
            self._log_scores(trainer, pl_module, collected)
            return
        self.collected |= collected
        if self.cache is not None and trainer.is_global_zero:
            for name, embeddings in collected.items():
                self.cache.store(self._origins[name], embeddings)

    def _log_scores(self, trainer: L.Trainer, pl_module: L.LightningModule, collected: Mapping[str, Collected]) -> None:
        """Score by the first process; the others are handed the metrics, which choose the best checkpoint."""
        metrics: dict[str, float] = {}
        if trainer.is_global_zero:
            benchmarks = trainer.datamodule.benchmarks  # type: ignore[attr-defined]
            module = cast("EmbeddingModule", pl_module)
            scores = score_benchmarks(
                benchmarks,
                collected,
                unprotected=self.unprotected,
                matcher=module.matcher,
                rank_hash=module.rank_hash(),
                show_progress=False,
            )
            metrics = {
                f"val/{name}/{metric}": value
                for name, score in scores.items()
                for metric, value in (score.metrics | score.privacy).items()
            }
        pl_module.log_dict(trainer.strategy.broadcast(metrics))

    def _look_up(self, cache: EmbeddingCache) -> dict[str, Collected]:
        found = {}
        for name, origin in self._origins.items():
            collected = cache.load(origin)
            if collected is not None:
                log.info("%s: embeddings of an earlier evaluation (--no-cache computes them anew)", name)
                found[name] = collected
        return found


def _origins(trainer: L.Trainer, module: L.LightningModule) -> dict[str, dict[str, str]]:
    """All that the embeddings of each benchmark depend on."""
    common = {
        "network": cast("EmbeddingModule", module).fingerprint(),
        "precision": str(trainer.precision),
        "device": trainer.strategy.root_device.type,
    }
    benchmarks = trainer.datamodule.benchmarks  # type: ignore[attr-defined]
    return {name: {**common, "images": benchmark.fingerprint} for name, benchmark in benchmarks.items()}


class _Processes:
    """The processes of a Lightning strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def rows(self, share: Tensor) -> Tensor:
        return self._strategy.all_gather(share.to(self._strategy.root_device)).cpu().view(-1, *share.shape[1:])

    def sum(self, share: Tensor) -> Tensor:
        return self._strategy.reduce(share.to(self._strategy.root_device), reduce_op="sum").cpu()
