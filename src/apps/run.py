"""The steps that ``train.py`` and ``eval.py`` share: build what a config names, evaluate, write the run's outputs."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from src.callbacks.benchmarks import BenchmarkCallback
from src.callbacks.checkpoint_io import AtomicCheckpointIO
from src.callbacks.loggers import RunCSVLogger, log_report
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.collector import Collected
from src.eval.embedding_cache import EmbeddingCache
from src.eval.environment import collect_environment
from src.eval.figures.pairs import hard_pairs_figure
from src.eval.report import Run, write_report
from src.eval.results import Results, write_run_results
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated, PrivacyBenchmark, score_benchmarks
from src.eval.table import print_results
from src.models.embedding_module import EmbeddingModule

__all__ = [
    "build_datamodule",
    "build_trainer",
    "can_train",
    "check_monitor",
    "compare_otherwise",
    "describe_results",
    "evaluate",
    "evaluate_reference",
    "first_step_of",
    "write_outputs",
]

REFERENCE = "backbone"
"""Label of the row of what a method's embeddings are compared with."""

# Lightning reports each absent accelerator and its own product on every start.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)
warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")
warnings.filterwarnings("ignore", r"Experiment logs directory .* is not empty")
warnings.filterwarnings("ignore", r"Checkpoint directory .* is not empty")
# Every process logs the same metrics: see BenchmarkCallback.
warnings.filterwarnings("ignore", r"It is recommended to use `self\.log\(.*sync_dist=True")
# A frozen backbone stays in evaluation mode.
warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode at the start of training")
# All embeddings may come from the cache.
warnings.filterwarnings("ignore", r"Total length of `list` across ranks is zero")
warnings.filterwarnings("ignore", r".*number of training batches .* is smaller than the logging interval")


def can_train(config: DictConfig) -> bool:
    """Whether the config has a module that learns; the networks of others and files of embeddings do not."""
    module = get_object(config.model._target_) if config.get("model") else L.LightningModule
    return module.training_step is not L.LightningModule.training_step


def build_datamodule(config: DictConfig) -> FaceDataModule:
    """Data and benchmarks of a config, checked and, for the embedded faces, rendered.

    Raises:
        UserError: Files are missing or unreadable; raised before any long work but the rendering.
    """
    # An experiment may set keys of a benchmark that is not among the chosen ones.
    chosen = {name: node for name, node in config.benchmark.items() if "_target_" in node}
    benchmarks = {name: instantiate(node) for name, node in chosen.items()}
    datamodule: FaceDataModule = instantiate(config.datamodule, benchmarks=benchmarks)
    datamodule.prepare_data()
    for name, benchmark in datamodule.benchmarks.items():
        try:
            benchmark.check()
        except UserError as error:
            raise UserError(
                f"benchmark {name}: {error}\ndocs/benchmarks.md tells which files each set needs and where they come "
                "from. To leave a set out, list the others: benchmark=[lfw,...]"
            ) from error
    return datamodule


def check_monitor(monitor: str, datamodule: FaceDataModule) -> None:
    """Raise UserError unless ``monitor`` is a metric that the benchmarks will log."""
    known = [f"val/{name}/{metric}" for name, b in datamodule.benchmarks.items() for metric in b.metric_names]
    if monitor not in known:
        raise UserError(f"monitor={monitor} is not logged by the chosen benchmarks.\nChoices: {', '.join(known)}")


def build_trainer(config: DictConfig, first_step: int = 0) -> L.Trainer:
    """The Trainer with the callbacks and loggers of a config; ``metrics.csv`` is always written.

    Args:
        config: Composed config.
        first_step: Optimiser step that the run continues from.
    """
    output = Path(config.paths.output_dir)
    instantiate(config.output)  # a file that it needs is missing now, not after the evaluation
    return instantiate(
        config.trainer,
        callbacks=[instantiate(callback) for callback in config.callbacks.values()],
        logger=[
            RunCSVLogger(output, first_step),
            *(instantiate(logger) for logger in config.logger.values()),
        ],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(output),
    )


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


def write_outputs(config: DictConfig, trainer: L.Trainer, datamodule: FaceDataModule, rows: Sequence[Results]) -> None:
    """Write results, figures and the report page, tell the loggers, and print the table.

    The hardest pairs are shown of the last row only.

    Args:
        config: Composed config; its ``paths.output_dir`` is the run folder.
        trainer: Its loggers get the tables and figures.
        datamodule: Has the images of the hardest pairs.
        rows: Of the table, e.g. untrained and trained; the last one is the run's result.
    """
    folder = Path(config.paths.output_dir)
    write_run_results(folder, rows)
    result = rows[-1]
    for name, benchmark in datamodule.benchmarks.items():
        hard_pairs_figure(folder / "figures", name, result.label, result.scores[name], benchmark.images())
    run = Run(folder, rows, _command(), OmegaConf.to_yaml(config, resolve=True))
    report = write_report(folder / "report" / "index.html", [run], folder / "figures")
    log_report(trainer.loggers, report.results, report.figures)
    print_results(report.results)
    for write in instantiate(config.output).values():
        write(rows)
    print(f"Report: {report.page}")


def first_step_of(checkpoint: Path | None) -> int:
    """Optimiser step at which a Lightning checkpoint was written; 0 without one."""
    if checkpoint is None:
        return 0
    contents: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
    return int(contents["global_step"])


def _command() -> str:
    return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config))
