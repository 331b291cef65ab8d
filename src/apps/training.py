"""What ``train.py`` runs."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from src.apps.comparison import compare
from src.apps.generative_training import train_generator
from src.apps.password_training import train_password_transformer
from src.apps.result_rows import compare_otherwise, evaluate, evaluate_reference
from src.apps.run import (
    build_datamodule,
    build_trainer,
    can_train,
    check_monitor,
    embeds_faces,
    first_step_of,
    transforms_faces,
    write_outputs,
)
from src.apps.run_folder import find_checkpoint
from src.datamodules.face_datamodule import FaceDataModule
from src.errors import UserError
from src.eval.embedding_cache import EmbeddingCache
from src.eval.pictures import image_grid
from src.eval.report import IMAGES
from src.eval.results import Results, read_results, results_file, write_results
from src.models.embedding_module import EmbeddingModule
from src.ops.library import log_backends

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Train, evaluate the final weights and write the outputs of the run.

    The result of the run is that of the final weights. The checkpoint with the best monitored metric was chosen on the
    benchmarks themselves; it is a row of the table only.

    Returns:
        The monitored metric of the final weights; NaN for methods that make faces where none is monitored.

    Raises:
        UserError: Something in the config or the data is wrong; raised before training.
    """
    if "methods" in config:
        return compare(config)
    if not can_train(config):
        raise UserError(f"experiment {config.name} only evaluates: use `python eval.py` with the same arguments")
    output = Path(config.paths.output_dir)
    checkpoint = _checkpoint_to_continue(config, output)
    if not embeds_faces(config):
        train_otherwise = train_password_transformer if transforms_faces(config) else train_generator
        return train_otherwise(config, checkpoint)
    log_backends()
    L.seed_everything(config.seed, workers=True, verbose=False)
    trainer = build_trainer(config, first_step_of(checkpoint))
    datamodule = build_datamodule(config)
    check_monitor(config.monitor, datamodule)
    module: EmbeddingModule = instantiate(config.model)
    module.save_hyperparameters(OmegaConf.to_container(config, resolve=True))
    if config.init_from is not None and (checkpoint is None or module.reference() is not None):
        module.load_backbone(config.init_from)
    module.check_ready(datamodule)
    cache = EmbeddingCache(config.paths.cache)
    rows = evaluate_reference(config, trainer, module, datamodule, cache, of="untrained")
    if config.evaluate_untrained:
        rows.append(_before_training(config, trainer, module, datamodule, is_new=checkpoint is None))
    log.info("%s images of %s people", f"{datamodule.num_samples:,}", f"{datamodule.num_classes:,}")
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint)
    last = output / "checkpoints" / "last.ckpt"
    if not last.exists():  # Lightning saves nothing for a method that takes no optimiser steps
        trainer.save_checkpoint(last)
    rows += evaluate_reference(config, trainer, module, datamodule, cache, of="last")
    final = evaluate(config, trainer, module, datamodule, label="last", checkpoint=last)
    others = compare_otherwise(config, trainer, module, datamodule, final)
    best = _best_checkpoint(trainer)
    if best is not None and first_step_of(best) != trainer.global_step:
        module.load_trained(best)
        rows += evaluate_reference(config, trainer, module, datamodule, cache, of="best")
        rows.append(evaluate(config, trainer, module, datamodule, label="best", checkpoint=best))
    rows += [*others, final]
    if trainer.is_global_zero:
        _draw_training_images(datamodule, output)
        write_outputs(config, trainer, datamodule, rows)
    _, benchmark, metric = config.monitor.split("/")
    score = final.scores[benchmark]
    return (score.metrics | score.privacy)[metric]


def _checkpoint_to_continue(config: DictConfig, output: Path) -> Path | None:
    if config.ckpt_path == "last" and not (output / "checkpoints" / "last.ckpt").exists():
        log.info("%s holds no checkpoint yet: starting from the beginning", output)
        return None
    return None if config.ckpt_path is None else find_checkpoint(config.ckpt_path, output)


def _before_training(
    config: DictConfig,
    trainer: L.Trainer,
    module: EmbeddingModule,
    datamodule: FaceDataModule,
    *,
    is_new: bool,
) -> Results:
    """Row of the network as it starts; a continued run reads it from its folder, where its first process left it."""
    learns_from_scratch = config.init_from is None or module.reference() is not None
    label = "untrained" if learns_from_scratch else "before training"
    path = Path(config.paths.output_dir) / results_file(label)
    if not is_new and path.exists():
        return read_results(path)
    results = evaluate(config, trainer, module, datamodule, label=label, checkpoint=config.init_from)
    if trainer.is_global_zero:
        write_results(path, results)
    return results


def _draw_training_images(datamodule: FaceDataModule, output: Path) -> None:
    images = datamodule.example_batch().get("image", torch.empty(0))
    alt = f"{len(images)} of the {datamodule.num_samples:,} training images of {datamodule.num_classes:,} people."
    image_grid(output / "figures" / IMAGES.format("training"), images, title="Training images", alt=alt)


def _best_checkpoint(trainer: L.Trainer) -> Path | None:
    """Checkpoint with the best monitored metric, if the run kept one."""
    callbacks = (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor)
    path = next((c.best_model_path for c in callbacks), "")
    return Path(path) if path else None
