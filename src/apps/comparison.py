"""What ``train.py`` runs for an experiment with ``methods``: all of them on the same embeddings, side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional

from src.apps.comparison_table import COST, METHOD, comparison_tables, write_comparison
from src.apps.result_rows import describe_results, evaluate_reference
from src.apps.run import build_datamodule, build_trainer, check_monitor, write_outputs
from src.callbacks.benchmarks import BenchmarkCallback
from src.datamodules.face_datamodule import Benchmark, FaceDataModule
from src.datamodules.genders import GENDERS
from src.errors import UserError
from src.eval.benchmark import VerificationBenchmark
from src.eval.collector import Collected
from src.eval.embedding_cache import EmbeddingCache
from src.eval.results import Results
from src.eval.score import BenchmarkScore
from src.eval.scoring import Evaluated, score_benchmarks
from src.eval.table import print_table
from src.models.frozen_features import frozen_features
from src.models.gender_angular import GenderAngular
from src.models.networks.weights import fingerprint
from src.models.suppression.suppressor import Suppressor

__all__ = ["compare"]

log = logging.getLogger(__name__)

TABLE = "comparison.csv"


def compare(config: DictConfig) -> float:
    """Fit every method to the training embeddings, evaluate its templates, and write the outputs of the run.

    The result of the run is that of the last method. One that fails while others do not is left out of the tables.

    Returns:
        The monitored metric of the last method.

    Raises:
        UserError: Something in the config or the data is wrong, raised before any embedding; or, in the end, a method
            failed.
    """
    if config.ckpt_path is not None:
        raise UserError(f"ckpt_path={config.ckpt_path}: methods are fitted anew and compared; leave it out")
    L.seed_everything(config.seed, workers=True, verbose=False)
    methods: dict[str, Suppressor] = instantiate(config.methods)
    trainer = build_trainer(config)
    datamodule = build_datamodule(config)
    check_monitor(config.monitor, datamodule)
    module: GenderAngular = instantiate(config.model)
    _check(datamodule, module, methods)
    if config.init_from is not None:
        module.load_backbone(config.init_from)
    module.check_ready(datamodule)
    evaluate_reference(config, trainer, module, datamodule, EmbeddingCache(config.paths.cache), of=config.name)
    faces = _training_faces(config, trainer, module, datamodule)
    log.info("%s images of %s people", f"{len(faces.labels):,}", f"{int(faces.labels.max()) + 1:,}")
    rows, failed = [], {}
    for number, (name, method) in enumerate(methods.items(), 1):
        log.info("%s (%d of %d)", name, number, len(methods))
        try:
            rows.append(_evaluate(config, trainer, datamodule, faces, name, method))
        except Exception as error:  # what the others measured is not to be lost
            log.exception("%s failed and is left out", name)
            failed[name] = error
    if rows:
        write_outputs(config, trainer, datamodule, rows)
        for table in comparison_tables(rows, list(datamodule.benchmarks)):
            print_table(table)
        write_comparison(Path(config.paths.output_dir) / TABLE, rows, list(datamodule.benchmarks))
        print(f"Table: {Path(config.paths.output_dir) / TABLE}")
    if failed:
        reasons = "\n".join(f"{name}: {error}" for name, error in failed.items())
        raise UserError(f"{len(failed)} of {len(methods)} methods failed:\n{reasons}\nLeave one out by ~methods.NAME")
    _, benchmark, metric = config.monitor.split("/")
    score = rows[-1].scores[benchmark]
    return (score.metrics | score.privacy)[metric]


@dataclass(frozen=True)
class _Faces:
    """Unit embeddings float32 [N, D], attributes int64 [N], 0 female, 1 male, and labels int64 [N], 0 .. C - 1."""

    embeddings: Tensor
    attributes: Tensor
    labels: Tensor


def _check(datamodule: FaceDataModule, module: GenderAngular, methods: Mapping[str, Suppressor]) -> None:
    """Find what would go wrong later."""
    if not methods:
        raise UserError("methods: expected at least one; the group suppressor has them")
    source = datamodule.dataset.source
    for code, gender in enumerate(GENDERS):
        if code not in source.class_attributes:
            raise UserError(f"{source.name}: nobody is marked {gender}; choose training data with genders")
    count, size = int((source.attributes >= 0).sum()), cast(int, module.backbone.embedding_size)
    for name, method in methods.items():
        try:
            method.check(count, size)
        except UserError as error:
            raise UserError(f"methods.{name}: {error}") from error
        others = [other for other, b in datamodule.benchmarks.items() if not isinstance(b, VerificationBenchmark)]
        if method.matcher is not None and method.matcher.pairs_only and others:
            raise UserError(
                f"methods.{name} compares templates by its own rule, which sets of pairs can take and "
                f"{', '.join(others)} cannot; leave it out by ~methods.{name}, or choose other benchmarks"
            )


def _training_faces(
    config: DictConfig, trainer: L.Trainer, module: GenderAngular, datamodule: FaceDataModule
) -> _Faces:
    """Embeddings of the training images, without mirror images, that can be read and whose gender is known."""
    network = module.backbone.to(trainer.strategy.root_device)
    features = frozen_features(network.embed, fingerprint(network.backbone), datamodule, trainer, config.paths.cache)[
        :, 0
    ]
    source = datamodule.dataset.source
    attributes, labels = (torch.from_numpy(array).long() for array in (source.attributes, source.labels))
    usable = features.isfinite().all(1) & (attributes >= 0)
    return _Faces(features[usable], attributes[usable], labels[usable].unique(return_inverse=True)[1])


def _evaluate(
    config: DictConfig, trainer: L.Trainer, datamodule: FaceDataModule, faces: _Faces, name: str, method: Suppressor
) -> Results:
    """Row of one method."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    start = time.perf_counter()
    method.device = trainer.strategy.root_device
    method.fit(faces.embeddings, faces.attributes, faces.labels)
    seconds = time.perf_counter() - start
    unprotected = _unprotected(trainer)
    protected = {
        benchmark: _protect(method, views, _pair_images(datamodule.benchmarks[benchmark]))
        for benchmark, views in unprotected.collected.items()
    }
    scores = score_benchmarks(
        datamodule.benchmarks,
        protected,
        config.bootstrap,
        unprotected=unprotected,
        matcher=method.matcher,
    )
    dim = next(iter(protected.values()))["original"].shape[1]
    cost = dict(zip(COST, (dim, method.parameters, seconds), strict=True))
    scores[METHOD] = BenchmarkScore({}, privacy=cost)
    return describe_results(config, trainer, scores, label=name, checkpoint=config.init_from, start=start)


def _unprotected(trainer: L.Trainer) -> Evaluated:
    callback = next(c for c in trainer.callbacks if isinstance(c, BenchmarkCallback))  # type: ignore[attr-defined]
    assert callback.unprotected is not None
    return callback.unprotected


def _pair_images(benchmark: Benchmark) -> int | None:
    """How many images, the first ones, are compared with their mirror images added; None: all are."""
    return len(benchmark.pairs.images) if isinstance(benchmark, VerificationBenchmark) else None


def _protect(method: Suppressor, views: Collected, pair_images: int | None) -> dict[str, Tensor]:
    """Templates of raw embeddings of images and, where there are any, of their mirror images.

    A method that works on whole templates has one of image and mirror image for what is compared, and one of the image
    alone for the faces whose gender is attacked.
    """
    if method.per_view:
        return {view: method.transform(functional.normalize(raw)) for view, raw in views.items()}
    whole = torch.stack(list(views.values())).sum(0)
    raw = torch.cat([whole[:pair_images], views["original"][len(whole[:pair_images]) :]])
    return dict.fromkeys(views, method.transform(functional.normalize(raw)))
