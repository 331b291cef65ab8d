"""What ``eval.py`` runs."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig

from src.apps.run import build_datamodule, build_trainer, write_outputs
from src.apps.run import evaluate as run_benchmarks
from src.apps.run_folder import find_checkpoint

__all__ = ["evaluate"]

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> None:
    """Evaluate one checkpoint, or the untrained network where none is given, and write the outputs.

    Raises:
        UserError: The checkpoint or a benchmark's files are missing or wrong; raised before any embedding.
    """
    L.seed_everything(config.seed, workers=True, verbose=False)
    trainer = build_trainer(config)
    datamodule = build_datamodule(config)
    module = instantiate(config.model, head=instantiate(config.loss))
    checkpoint = None
    if config.ckpt_path is None:
        log.warning("no ckpt_path: the network is untrained")
    else:
        checkpoint = find_checkpoint(config.ckpt_path, Path(config.paths.runs) / config.name)
        module.load_backbone(checkpoint)
    label = "untrained" if checkpoint is None else checkpoint.stem
    results = run_benchmarks(config, trainer, module, datamodule, label=label, checkpoint=checkpoint)
    if trainer.is_global_zero:
        write_outputs(config, [results])
