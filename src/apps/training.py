"""What ``train.py`` runs."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from src.apps.run import build_datamodule, build_trainer, check_monitor, evaluate, first_step_of, write_outputs
from src.apps.run_folder import find_checkpoint
from src.datamodules.face_datamodule import FaceDataModule
from src.eval.results import Results, read_results, write_results

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Train, evaluate the best checkpoint and write the outputs of the run.

    Returns:
        The monitored metric of the best checkpoint.

    Raises:
        UserError: Something in the config or the data is wrong; raised before training.
    """
    output = Path(config.paths.output_dir)
    checkpoint = _checkpoint_to_continue(config, output)
    L.seed_everything(config.seed, workers=True, verbose=False)
    datamodule = build_datamodule(config)
    check_monitor(config.monitor, datamodule)
    module = instantiate(config.model, head=instantiate(config.loss))
    module.save_hyperparameters(OmegaConf.to_container(config, resolve=True))
    if config.init_from is not None and checkpoint is None:
        module.load_backbone(config.init_from)
    trainer = build_trainer(config, first_step_of(checkpoint))
    rows = []
    if config.evaluate_untrained:
        rows.append(_before_training(config, trainer, module, datamodule, is_new=checkpoint is None))
    log.info("%s images of %s people", f"{datamodule.num_samples:,}", f"{datamodule.num_classes:,}")
    trainer.fit(module, datamodule=datamodule, ckpt_path=checkpoint)
    best = _best_checkpoint(trainer, output)
    module.load_backbone(best)
    rows.append(evaluate(config, trainer, module, datamodule, label="trained", checkpoint=best))
    if trainer.is_global_zero:
        write_outputs(config, rows)
    _, benchmark, metric = config.monitor.split("/")
    return rows[-1].metrics[benchmark][metric]


def _checkpoint_to_continue(config: DictConfig, output: Path) -> Path | None:
    if config.ckpt_path == "last" and not (output / "checkpoints" / "last.ckpt").exists():
        log.info("%s holds no checkpoint yet: starting from the beginning", output)
        return None
    return None if config.ckpt_path is None else find_checkpoint(config.ckpt_path, output)


def _before_training(
    config: DictConfig,
    trainer: L.Trainer,
    module: L.LightningModule,
    datamodule: FaceDataModule,
    *,
    is_new: bool,
) -> Results:
    """Row of the network as it starts; a continued run reads it from its folder, where its first process left it."""
    path = Path(config.paths.output_dir) / "results_before_training.json"
    label = "untrained" if config.init_from is None else "before training"
    if not is_new and path.exists():
        return read_results(path, label)
    results = evaluate(config, trainer, module, datamodule, label=label, checkpoint=config.init_from)
    if trainer.is_global_zero:
        write_results(path, results)
    return results


def _best_checkpoint(trainer: L.Trainer, output: Path) -> Path:
    """Checkpoint with the best monitored metric, or the final weights of a method that takes no optimiser steps.

    Lightning's callback saves nothing for such a method.
    """
    callbacks = trainer.checkpoint_callbacks
    best = next((c.best_model_path for c in callbacks if isinstance(c, ModelCheckpoint) and c.monitor), "")
    if best:
        return Path(best)
    path = output / "checkpoints" / "best.ckpt"
    trainer.save_checkpoint(path)
    return path
