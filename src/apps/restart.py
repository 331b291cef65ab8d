"""A job that SLURM started anew goes on where it was."""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig, open_dict

from src.apps.run_folder import CHECKPOINTS

__all__ = ["continue_if_restarted"]


def continue_if_restarted(config: DictConfig, folder: Path) -> DictConfig:
    """Set ``ckpt_path=last`` in a job that was in the queue before and left a checkpoint then.

    Args:
        config: Composed config; changed in place.
        folder: Of the run.

    Returns:
        ``config``.
    """
    is_restarted = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
    if is_restarted and (folder / CHECKPOINTS / "last.ckpt").exists():
        with open_dict(config):
            config.ckpt_path = "last"
    return config
