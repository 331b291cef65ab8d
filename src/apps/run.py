"""The steps that ``train.py`` and ``eval.py`` share: build what a config names, and write the run's outputs."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import get_object, instantiate
from lightning.pytorch.strategies import ModelParallelStrategy
from omegaconf import DictConfig, OmegaConf

from src.callbacks.checkpoint_io import AtomicCheckpointIO
from src.callbacks.loggers import RunCSVLogger, log_report
from src.callbacks.rank_watch import follow_launcher
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.figures.pairs import hard_pairs_figure
from src.eval.report import Run, write_report
from src.eval.results import Results, write_run_results
from src.eval.table import print_results
from src.models.eigenfaces import Eigenfaces
from src.models.embedding_module import EmbeddingModule
from src.models.password_transformer import FaceIdentityTransformer
from src.models.recognizer import FaceRecognizer

__all__ = [
    "build_datamodule",
    "build_trainer",
    "can_train",
    "check_monitor",
    "embeds_faces",
    "first_step_of",
    "transforms_faces",
    "write_outputs",
]

# Lightning reports each absent accelerator and its own product on every start.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)
warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")
warnings.filterwarnings("ignore", r"Experiment logs directory .* is not empty")
warnings.filterwarnings("ignore", r"Checkpoint directory .* is not empty")
# Every process logs the same metrics: see BenchmarkCallback.
warnings.filterwarnings("ignore", r"It is recommended to use `self\.log\(.*sync_dist=True")
# Lightning's own gathering, and its advice to those who are on a SLURM machine but not in a job.
warnings.filterwarnings("ignore", r"torch\.distributed\.nn\.functional\.all_gather is deprecated")
warnings.filterwarnings("ignore", r"The `srun` command is available on your system but is not used")
# Its new name is not known to torch 2.12.
warnings.filterwarnings("ignore", r"`broadcast_buffers` is deprecated")
# A frozen backbone stays in evaluation mode.
warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode at the start of training")
# All embeddings may come from the cache.
warnings.filterwarnings("ignore", r"Total length of `list` across ranks is zero")
warnings.filterwarnings("ignore", r".*number of training batches .* is smaller than the logging interval")


def can_train(config: DictConfig) -> bool:
    """Whether the config has a module that learns; the networks of others and files of embeddings do not."""
    module = get_object(config.model._target_) if config.get("model") else L.LightningModule
    return module.training_step is not L.LightningModule.training_step


def embeds_faces(config: DictConfig) -> bool:
    """Whether the config has a module whose embeddings can be evaluated; generators make faces instead."""
    return not config.get("model") or issubclass(get_object(config.model._target_), EmbeddingModule)


def transforms_faces(config: DictConfig) -> bool:
    """Whether the config is that of a password transformer, which turns faces into others."""
    return bool(config.get("model")) and issubclass(get_object(config.model._target_), FaceIdentityTransformer)


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

    Raises:
        UserError: The experiment cannot be spread over devices as the Trainer would do.
    """
    output = Path(config.paths.output_dir)
    instantiate(config.output)  # a file that it needs is missing now, not after the evaluation
    if "fsdp" in str(config.trainer.strategy):
        raise UserError(
            f"trainer.strategy={config.trainer.strategy}: this is the older FSDP, which is not supported; recognisers "
            "are sharded by trainer=fsdp"
        )
    follow_launcher()
    trainer: L.Trainer = instantiate(
        config.trainer,
        callbacks=[instantiate(callback) for callback in config.callbacks.values()],
        logger=[
            RunCSVLogger(output, first_step),
            *(instantiate(logger) for logger in config.logger.values()),
        ],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(output),
    )
    _check_strategy(config, trainer)
    return trainer


def _check_strategy(config: DictConfig, trainer: L.Trainer) -> None:
    """Refuse several processes where a method has one pass over all images, and sharding of what is no recogniser."""
    module = get_object(config.model._target_) if config.get("model") else EmbeddingModule
    compares = "methods" in config
    if trainer.world_size > 1 and (compares or issubclass(module, Eigenfaces)):
        raise UserError(
            f"{'methods are compared' if compares else 'eigenfaces are computed'} by one process, from all images at "
            f"once; set trainer.devices=1 trainer.num_nodes=1, found {trainer.world_size} processes"
        )
    if isinstance(trainer.strategy, ModelParallelStrategy) and not issubclass(module, FaceRecognizer):
        raise UserError(
            f"trainer=fsdp: {config.name} trains {module.__name__}, and only recognisers (experiment=arcface and its "
            "like) can be sharded: other networks are small, or their gradients pass through gradients. Use "
            "trainer=ddp, where every device holds the whole"
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
