"""Rows of a table of results: what is evaluated, otherwise compared, or compared with."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

import lightning as L
from omegaconf import DictConfig, OmegaConf

from src.callbacks.benchmarks import BenchmarkCallback
from src.datamodules.face_datamodule import FaceDataModule
from src.eval.collector import Collected
from src.eval.embedding_cache import EmbeddingCache
from src.eval.environment import collect_environment
from src.eval.results import Results
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated, PrivacyBenchmark, score_benchmarks
from src.models.embedding_module import EmbeddingModule

__all__ = ["compare_otherwise", "describe_results", "evaluate", "evaluate_reference"]

REFERENCE = "backbone"
"""Label of the row of what a method's embeddings are compared with."""


def evaluate(
    config: DictConfig,
    trainer: L.Trainer,
    module: EmbeddingModule,
    datamodule: FaceDataModule,
    *,
    label: str,
    checkpoint: Path | str | None,
    cache: EmbeddingCache | None = None,
) -> Results:
    """Embed the images of the benchmarks through the Trainer and score them in the first process.

    Args:
        config: Composed config, named in the results.
        trainer: Has a `BenchmarkCallback`.
        module: Its weights are evaluated as they are.
        datamodule: Holds the benchmarks.
        label: Name of the row, e.g. ``"trained"``.
        checkpoint: Where the weights come from.
        cache: Where embeddings are looked up and kept; by default nowhere.
    """
    start = time.perf_counter()
    callback = _benchmark_callback(trainer)
    callback.cache = cache
    callback.known = _from_reference(callback, module)
    trainer.validate(module, datamodule=datamodule, verbose=False)
    scores: dict[str, BenchmarkScore] = {}
    if trainer.is_global_zero:
        scores = score_benchmarks(
            datamodule.benchmarks,
            callback.collected,
            config.bootstrap,
            unprotected=callback.unprotected,
            matcher=module.matcher,
            rank_hash=module.rank_hash(),
        )
    scores = trainer.strategy.broadcast(scores)
    return describe_results(config, trainer, scores, label=label, checkpoint=checkpoint, start=start)


def _from_reference(callback: BenchmarkCallback, module: EmbeddingModule) -> dict[str, Collected]:
    """What the module yields for the images of benchmarks, where its reference has embedded them already."""
    before, reference = callback.unprotected, module.reference()
    if before is None or reference is None or reference.fingerprint() != callback.unprotected_network:
        return {}
    known = {}
    for name, views in before.collected.items():
        if set(views) <= {"original", "flipped"}:  # others are pooled, so that single embeddings are not known
            made = {view: module.from_reference(embeddings) for view, embeddings in views.items()}
            known[name] = {view: value for view, value in made.items() if value is not None}
    return {name: views for name, views in known.items() if views}


def compare_otherwise(
    config: DictConfig, trainer: L.Trainer, module: EmbeddingModule, datamodule: FaceDataModule, row: Results
) -> list[Results]:
    """Rows of what was embedded last, compared in the module's other ways.

    Args:
        config: As of `evaluate`, like the next ones.
        trainer: Has a `BenchmarkCallback`.
        module: Names the `EmbeddingModule.matchers`.
        datamodule: Holds the benchmarks; those that attack what was embedded are not repeated.
        row: What `evaluate` made of it.
    """
    collected = _benchmark_callback(trainer).collected
    benchmarks = {name: b for name, b in datamodule.benchmarks.items() if not isinstance(b, PrivacyBenchmark)}
    rows = []
    for name, matcher in module.matchers.items():
        start = time.perf_counter()
        scores: dict[str, BenchmarkScore] = {}
        if trainer.is_global_zero:
            scores = score_benchmarks(benchmarks, collected, config.bootstrap, matcher=matcher)
        label = f"{row.label}, {name}"
        rows.append(describe_results(config, trainer, scores, label=label, checkpoint=row.checkpoint, start=start))
    return rows


def evaluate_reference(
    config: DictConfig,
    trainer: L.Trainer,
    module: EmbeddingModule,
    datamodule: FaceDataModule,
    cache: EmbeddingCache | None,
    *,
    of: str,
) -> list[Results]:
    """Evaluate what ``module`` is to be compared with; what is evaluated later is compared with that.

    To be called before each evaluation of the module: its reference may learn, too.

    Args:
        config: As of `evaluate`, like the next ones.
        trainer: Has a `BenchmarkCallback`.
        module: Names its reference.
        datamodule: Holds the benchmarks.
        cache: Where embeddings are looked up and kept; None: nowhere.
        of: Label of the module's row.

    Returns:
        Its row; none if there is nothing to compare with, or it was evaluated already.
    """
    callback = _benchmark_callback(trainer)
    reference = module.reference()
    network = "" if reference is None else reference.fingerprint()
    if network == callback.unprotected_network:
        return []
    label = f"{REFERENCE} of {of}" if callback.unprotected_network else REFERENCE
    callback.unprotected, callback.unprotected_network = None, network
    if reference is None:
        return []
    row = evaluate(config, trainer, reference, datamodule, label=label, checkpoint=module.backbone_file, cache=cache)
    callback.unprotected = Evaluated(callback.collected, row.scores)
    return [row]


def _benchmark_callback(trainer: L.Trainer) -> BenchmarkCallback:
    return next(c for c in trainer.callbacks if isinstance(c, BenchmarkCallback))  # type: ignore[attr-defined]


def describe_results(
    config: DictConfig,
    trainer: L.Trainer,
    scores: dict[str, BenchmarkScore],
    *,
    label: str,
    checkpoint: Path | str | None,
    start: float,
) -> Results:
    """Scores with the circumstances they were obtained under; ``start`` is ``time.perf_counter()`` before the work."""
    return Results(
        experiment=config.name,
        label=label,
        checkpoint=None if checkpoint is None else os.path.relpath(checkpoint),
        seconds=time.perf_counter() - start,
        environment=collect_environment(_plain(config), trainer.strategy.root_device),
        scores=scores,
    )


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config))
