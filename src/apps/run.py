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
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.callbacks.benchmarks import BenchmarkCallback
from src.callbacks.checkpoint_io import AtomicCheckpointIO
from src.callbacks.loggers import RunCSVLogger
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.environment import collect_environment
from src.eval.figures import Figure
from src.eval.report import write_report
from src.eval.results import Results, write_results
from src.eval.table import print_results

__all__ = ["build_datamodule", "build_trainer", "check_monitor", "evaluate", "first_step_of", "write_outputs"]

# Lightning reports each absent accelerator and its own product on every start.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)
warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")
warnings.filterwarnings("ignore", r"Experiment logs directory .* is not empty")
warnings.filterwarnings("ignore", r"Checkpoint directory .* is not empty")
# Every rank computes the same metrics, and repeats of images are dropped: see BenchmarkCallback.
warnings.filterwarnings("ignore", r"It is recommended to use `self\.log\(.*sync_dist=True")
warnings.filterwarnings("ignore", r"Using `DistributedSampler` with the dataloaders")
warnings.filterwarnings("ignore", r".*number of training batches .* is smaller than the logging interval")


def build_datamodule(config: DictConfig) -> FaceDataModule:
    """Data and benchmarks of a config, checked and, for the embedded faces, rendered.

    Raises:
        UserError: Files are missing or unreadable; raised before any long work but the rendering.
    """
    datamodule: FaceDataModule = instantiate(config.datamodule, benchmarks=instantiate(config.benchmark))
    datamodule.prepare_data()
    for benchmark in datamodule.benchmarks.values():
        benchmark.check()
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
    module: L.LightningModule,
    datamodule: FaceDataModule,
    *,
    label: str,
    checkpoint: Path | str | None,
) -> Results:
    """Run the benchmarks on a module through the Trainer.

    Args:
        config: Composed config, named in the results.
        trainer: Has a `BenchmarkCallback`.
        module: Its weights are evaluated as they are.
        datamodule: Holds the benchmarks.
        label: Name of the row, e.g. ``"trained"``.
        checkpoint: Where the weights come from.
    """
    start = time.perf_counter()
    trainer.validate(module, datamodule=datamodule, verbose=False)
    callback = next(c for c in trainer.callbacks if isinstance(c, BenchmarkCallback))  # type: ignore[attr-defined]
    return Results(
        experiment=config.name,
        label=label,
        checkpoint=None if checkpoint is None else os.path.relpath(checkpoint),
        seconds=time.perf_counter() - start,
        environment=collect_environment(_plain(config), trainer.strategy.root_device),
        scores=dict(callback.scores),
    )


def write_outputs(config: DictConfig, results: list[Results], samples: Sequence[Figure] = ()) -> None:
    """Write ``results.json``, figures and the report page, and print the table; the last row is the run's result.

    Args:
        config: Composed config; its ``paths.output_dir`` is the run folder.
        results: Rows of the table, e.g. untrained and trained.
        samples: Pictures of images for the report.
    """
    output = Path(config.paths.output_dir)
    write_results(output / "results.json", results[-1])
    page = write_report(output, results, command=_command(), config_text=_text(config), samples=samples)
    print_results(results)
    print(f"Report: {page}")


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


def _text(config: DictConfig) -> str:
    return OmegaConf.to_yaml(config, resolve=True)
