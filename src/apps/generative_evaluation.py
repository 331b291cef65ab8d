"""What ``eval.py`` runs for methods that make faces instead of embedding them."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TypeVar

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig

from src.apps.generate.generator_file import load_generator
from src.apps.generator_settings import fill_from_preset
from src.apps.result_rows import describe_results
from src.apps.run import build_trainer, write_outputs
from src.apps.run_folder import checkpoint_labels, find_checkpoints
from src.callbacks.generated_faces import GeneratedFaces
from src.callbacks.generative_metrics import GenerativeMetricsCallback, Measured
from src.datamodules.paired_datamodule import PairedFacesDataModule
from src.errors import UserError
from src.eval.figures.identities import identity_figure
from src.eval.report import IMAGES
from src.eval.results import Results, safe_name
from src.eval.score import BenchmarkScore
from src.models.networks.stylegan2 import Generator
from src.ops.library import log_backends

__all__ = ["describe_generator", "evaluate_generators", "metrics_callback"]

log = logging.getLogger(__name__)

GENERATION = "generation"
"""What the metrics of generated images are called beside benchmarks."""

Callback = TypeVar("Callback", bound=L.Callback)


def evaluate_generators(config: DictConfig) -> None:
    """Measure the averaged generator of one or several checkpoints, or an untrained one, and write the outputs.

    Args:
        config: Composed config of a generator; its training data are what generated images are compared with.

    Raises:
        UserError: A checkpoint, a network of the metrics or the data are missing or do not fit; raised before any image
            is made.
    """
    log_backends()
    L.seed_everything(config.seed, workers=True, verbose=False)
    checkpoints = find_checkpoints(config.ckpt_path, Path(config.paths.runs) / config.name)
    if None in checkpoints:
        log.warning("no ckpt_path: the generator is untrained")
        fill_from_preset(config)
    generators = dict(zip(checkpoint_labels(checkpoints), (_load(config, path) for path in checkpoints), strict=True))
    trainer = build_trainer(config)
    callback = metrics_callback(trainer)
    if callback is None:
        raise UserError("callbacks.metrics: expected what is measured, found nothing; leave out ~callbacks.metrics")
    datamodule: PairedFacesDataModule = instantiate(config.datamodule)
    for label, generator in generators.items():
        _check_fits(label, generator, datamodule)
    datamodule.prepare_data()
    rows = []
    for (label, generator), checkpoint in zip(generators.items(), checkpoints, strict=True):
        start = time.perf_counter()
        generator.to(trainer.strategy.root_device)
        measured = callback.measure(generator, datamodule, path_lengths=True)
        rows.append(describe_generator(config, trainer, measured, label=label, checkpoint=checkpoint, start=start))
        _draw_faces(config, trainer, generator, datamodule, label)
        generator.cpu()
    write_outputs(config, trainer, datamodule, rows)


def metrics_callback(trainer: L.Trainer) -> GenerativeMetricsCallback | None:
    """What measures generators; None if it was dropped from the config."""
    return _find(trainer, GenerativeMetricsCallback)


def describe_generator(
    config: DictConfig,
    trainer: L.Trainer,
    measured: Measured,
    *,
    label: str,
    checkpoint: Path | None,
    start: float,
) -> Results:
    """Row of a generator for the table, and figures of whom it shows.

    Args:
        config: Composed config, named in the results.
        trainer: Its device is.
        measured: What was found.
        label: Name of the row.
        checkpoint: Where the weights come from.
        start: ``time.perf_counter()`` before the work.
    """
    figures = Path(config.paths.output_dir) / "figures"
    for name, scores in measured.identities.items():
        path = figures / IMAGES.format(safe_name(f"identities_{label}_{name}"))
        identity_figure(path, scores, measured.real.get(name), of=f"{label}, {name}")
    found = {GENERATION: BenchmarkScore(measured.metrics)}
    return describe_results(config, trainer, found, label=label, checkpoint=checkpoint, start=start)


def _load(config: DictConfig, checkpoint: Path | None) -> Generator:
    if checkpoint is not None:
        return load_generator(checkpoint)
    generator: Generator = instantiate(config.model.generator, _convert_="all")
    return generator.eval()


def _check_fits(label: str, generator: Generator, datamodule: PairedFacesDataModule) -> None:
    """Raise UserError unless a generator makes images of the size, and takes identities, of the data."""
    if generator.resolution != datamodule.size:
        raise UserError(
            f"{label}: the generator makes images of {generator.resolution} x {generator.resolution} pixels, "
            f"datamodule.size is {datamodule.size}; set datamodule.size={generator.resolution}, and with it the data"
        )
    if generator.c_dim and "feature" not in datamodule.fields:
        raise UserError(
            f"{label}: the generator takes identity features, datamodule.fields={list(datamodule.fields)} has none; "
            "add feature"
        )
    if generator.c_dim and generator.c_dim != datamodule.label_bank.size:
        raise UserError(
            f"{label}: the generator takes identity features of {generator.c_dim} numbers, those of "
            f"{datamodule.dataset.name} have {datamodule.label_bank.size}; give the data that it was trained on"
        )


def _draw_faces(
    config: DictConfig, trainer: L.Trainer, generator: Generator, datamodule: PairedFacesDataModule, label: str
) -> None:
    """Draw real faces and those of a generator, unless pictures were dropped from the config."""
    pictures = _find(trainer, GeneratedFaces)
    if pictures is not None:
        figures = Path(config.paths.output_dir) / "figures"
        pictures.draw_real(figures / IMAGES.format("training"), datamodule)
        path = figures / IMAGES.format(safe_name(f"generated_{label}"))
        pictures.draw_generated(path, generator, datamodule, label)


def _find(trainer: L.Trainer, kind: type[Callback]) -> Callback | None:
    return next((c for c in trainer.callbacks if isinstance(c, kind)), None)  # type: ignore[attr-defined]
