"""Train a method and evaluate what it learnt.

    python train.py experiment=arcface

The overrides a person needs most:
    trainer.max_epochs=20            how long
    datamodule.batch_size=256        images per step and device
    model/backbone=iresnet50         another network

A run writes one folder, runs/NAME: checkpoints, metrics.csv, results.json, figures, report/index.html.
ckpt_path=last continues a run that was interrupted.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from src.apps.command_line import launch
from src.apps.restart import continue_if_restarted
from src.apps.run_folder import check_run_folder


def train(config: DictConfig) -> float:
    """Fit the configured module; returns the monitored metric, which sweeps optimise."""
    from src.apps.training import train

    return train(continue_if_restarted(config, Path(config.paths.output_dir)))


def check(config: DictConfig) -> None:
    """Look at the run folder, before anything is written into it."""
    check_run_folder(continue_if_restarted(config, Path(config.hydra.run.dir)))


if __name__ == "__main__":
    launch("train", train, __doc__ or "", before=check)
