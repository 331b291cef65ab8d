"""What ``eval.py`` runs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig

from src.apps.anonymization_evaluation import evaluate_anonymization
from src.apps.generative_evaluation import evaluate_generators
from src.apps.result_rows import compare_otherwise, describe_results, evaluate_reference
from src.apps.result_rows import evaluate as run_benchmarks
from src.apps.run import build_datamodule, build_trainer, can_train, embeds_faces, transforms_faces, write_outputs
from src.apps.run_folder import checkpoint_labels, find_checkpoints
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.collector import Collected
from src.eval.embedding_cache import EmbeddingCache
from src.eval.embedding_files import check_embeddings, read_embeddings
from src.eval.matching import SymbolMatcher
from src.eval.results import Results
from src.eval.scoring import score_benchmarks
from src.models.embedding_module import EmbeddingModule
from src.models.networks.onnx_network import OnnxNetwork
from src.ops.library import log_backends
from src.progress import image_progress

__all__ = ["evaluate"]

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> None:
    """Evaluate one or several checkpoints, an untrained network or files of embeddings, and write the outputs.

    Raises:
        UserError: A checkpoint or a benchmark's files are missing or wrong; raised before any embedding. Of a
            generator see `evaluate_generators`, of a password transformer `evaluate_anonymization`.
    """
    if not embeds_faces(config):
        evaluate_otherwise = evaluate_anonymization if transforms_faces(config) else evaluate_generators
        evaluate_otherwise(config)
        return
    log_backends()
    L.seed_everything(config.seed, workers=True, verbose=False)
    networks = [] if "embeddings" in config else _networks(config)
    trainer = build_trainer(config)
    datamodule = build_datamodule(config)
    cache = EmbeddingCache(config.paths.cache) if config.cache else None
    rows: list[Results] = []
    for label, checkpoint, module in networks:
        rows += evaluate_reference(config, trainer, module, datamodule, cache, of=label)
        row = run_benchmarks(config, trainer, module, datamodule, label=label, checkpoint=checkpoint, cache=cache)
        rows += [*compare_otherwise(config, trainer, module, datamodule, row), row]
    rows = rows or [_evaluate_files(config, trainer, datamodule)]
    if trainer.is_global_zero:
        write_outputs(config, trainer, datamodule, rows)


def _networks(config: DictConfig) -> list[tuple[str, Path | None, EmbeddingModule]]:
    """Label, checkpoint and module of every row."""
    checkpoints = find_checkpoints(config.ckpt_path, Path(config.paths.runs) / config.name)
    labels = checkpoint_labels(checkpoints)
    if None in checkpoints and can_train(config):
        log.warning("no ckpt_path: the network is untrained")
    elif None in checkpoints:
        labels = [config.name]
    modules = [_module(config, checkpoint) for checkpoint in checkpoints]
    for label, module in zip(labels, modules, strict=True):
        _check_size(label, module, config.datamodule.size)
    return list(zip(labels, checkpoints, modules, strict=True))


def _check_size(label: str, module: EmbeddingModule, size: int) -> None:
    wanted = getattr(module.backbone, "size", None)
    if wanted not in (None, size):
        raise UserError(
            f"{label}: the network takes images of {wanted} x {wanted} pixels, datamodule.size is {size}; "
            f"set datamodule.size={wanted}"
        )


def _module(config: DictConfig, checkpoint: Path | None) -> EmbeddingModule:
    """The network of the config with the weights of a checkpoint, or the network that an ONNX file is."""
    if checkpoint is not None and checkpoint.suffix == ".onnx":
        return EmbeddingModule(OnnxNetwork(checkpoint))
    module: EmbeddingModule = instantiate(config.model)
    if checkpoint is not None:
        module.load_trained(checkpoint, config.init_from)
    elif config.init_from is not None:
        module.load_backbone(config.init_from)
    return module


def _evaluate_files(config: DictConfig, trainer: L.Trainer, datamodule: FaceDataModule) -> Results:
    start = time.perf_counter()
    folder = Path(config.embeddings)
    counts = {name: len(benchmark.images()) for name, benchmark in datamodule.benchmarks.items()}
    mirrored = [name for name, benchmark in datamodule.benchmarks.items() if benchmark.needs_mirror_images]
    alphabet: int | None = config.alphabet
    check_embeddings(folder, counts, mirrored, alphabet)
    collected = {name: _collect_file(folder, name, count, datamodule, alphabet) for name, count in counts.items()}
    matcher = None if alphabet is None else SymbolMatcher(alphabet)
    scores = score_benchmarks(datamodule.benchmarks, collected, config.bootstrap, matcher=matcher)
    return describe_results(config, trainer, scores, label=folder.name, checkpoint=folder, start=start)


def _collect_file(folder: Path, name: str, count: int, datamodule: FaceDataModule, alphabet: int | None) -> Collected:
    collector = datamodule.benchmarks[name].collector(alphabet)
    with image_progress() as progress:
        task = progress.add_task(f"reading {name}", total=count)
        for index, original, flipped in read_embeddings(folder, name, count, alphabet):
            collector.add(index, original, flipped)
            progress.advance(task, len(index))
    return collector.collect()
