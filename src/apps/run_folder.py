"""The folder of a run: which checkpoint it holds, and what may be written into it.

Nothing here imports torch: these checks run before the slow imports.
"""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import DictConfig

from src.errors import UserError

__all__ = ["check_eval_checkpoint", "check_run_folder", "find_checkpoint"]

CHECKPOINTS = "checkpoints"


def check_run_folder(config: DictConfig) -> None:
    """Refuse to train over a finished or interrupted run, and to continue what is not there.

    Args:
        config: Composed with the ``hydra`` node, which names the folder.

    Raises:
        UserError: The folder holds a training and ``ckpt_path`` does not continue it, or ``ckpt_path`` is no file.
    """
    if "LOCAL_RANK" in os.environ:  # a rank that the main process started
        return
    folder = Path(config.hydra.run.dir)
    last = folder / CHECKPOINTS / "last.ckpt"
    if config.ckpt_path is None and last.exists():
        raise UserError(
            f"{folder} already holds a training.\n"
            f"Continue it with ckpt_path=last, or start another with name={config.name}-2 (or any other name)."
        )
    if config.ckpt_path not in (None, "last"):
        find_checkpoint(config.ckpt_path, folder)
    if config.init_from is not None:
        find_checkpoint(config.init_from, folder)


def check_eval_checkpoint(config: DictConfig) -> None:
    """Raise UserError unless ``ckpt_path`` is null or names a checkpoint that exists."""
    if config.ckpt_path is not None:
        find_checkpoint(config.ckpt_path, Path(config.paths.runs) / config.name)


def find_checkpoint(ckpt_path: str, run_folder: Path) -> Path:
    """Path of the checkpoint that ``ckpt_path`` names.

    Args:
        ckpt_path: ``"last"`` or ``"best"`` of ``run_folder``, or the path of a file.
        run_folder: Folder of the run.

    Raises:
        UserError: There is no such file; the message lists the checkpoints that exist.
    """
    named = run_folder / CHECKPOINTS / f"{ckpt_path}.ckpt" if ckpt_path in ("best", "last") else Path(ckpt_path)
    if named.is_file():
        return named
    found = sorted(str(path) for path in run_folder.parent.glob(f"*/{CHECKPOINTS}/*.ckpt"))
    there = f"Checkpoints under {run_folder.parent}: {', '.join(found)}" if found else "Train one first."
    raise UserError(f"checkpoint {ckpt_path}: there is no file {named}.\n{there}")
