"""The folder of a run: which checkpoint it holds, and what may be written into it.

Nothing here imports torch: these checks run before the slow imports.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.errors import UserError

__all__ = [
    "check_eval_checkpoints",
    "check_run_folder",
    "checkpoint_labels",
    "find_checkpoint",
    "find_checkpoints",
]

CHECKPOINTS = "checkpoints"
RESULTS = "results.json"

_IN_FOLDERS = ("backbone.pth", "model.json")
"""Of the folders that stand for a checkpoint: published weights, and networks that ``privface convert`` wrote."""


def check_run_folder(config: DictConfig) -> None:
    """Refuse to train over a finished or interrupted run, and to continue what is not there.

    Args:
        config: Composed with the ``hydra`` node, which names the folder.

    Raises:
        UserError: The folder holds a training and ``ckpt_path`` does not continue it, or ``ckpt_path`` is no file.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":  # a further process: the first one looks
        return
    folder = Path(config.hydra.run.dir)
    last = folder / CHECKPOINTS / "last.ckpt"
    if config.ckpt_path is None and (last.exists() or (folder / RESULTS).exists()):
        continued = "Continue it with ckpt_path=last, or start" if last.exists() else "Start"
        raise UserError(
            f"{folder} already holds a finished or interrupted run.\n"
            f"{continued} another with name={config.name}-2 (or any other name)."
        )
    if config.ckpt_path not in (None, "last"):
        find_checkpoint(config.ckpt_path, folder)
    if config.init_from is not None:
        find_checkpoint(config.init_from, folder)


def check_eval_checkpoints(config: DictConfig) -> None:
    """Raise UserError unless ``ckpt_path`` is null or names checkpoints that exist."""
    checkpoint_labels(find_checkpoints(config.ckpt_path, Path(config.paths.runs) / config.name))


def find_checkpoints(ckpt_path: str | Sequence[str] | None, run_folder: Path) -> list[Path | None]:
    """Paths of the checkpoints to evaluate.

    Args:
        ckpt_path: See `find_checkpoint`; a list of them; or None: an untrained network, the only entry.
        run_folder: Folder of the run.

    Raises:
        UserError: See `find_checkpoint`; or the list is empty.
    """
    if ckpt_path is None:
        return [None]
    paths = [ckpt_path] if isinstance(ckpt_path, str) else list(ckpt_path)
    if not paths:
        raise UserError("ckpt_path: the list is empty; name a checkpoint, or leave it out for an untrained network")
    return [find_checkpoint(path, run_folder) for path in paths]


def checkpoint_labels(checkpoints: Sequence[Path | None]) -> list[str]:
    """Names of the rows of a table: as much of each path, from its end, as tells them apart.

    Raises:
        UserError: A file is named twice.
    """
    parts = [
        ("untrained",) if path is None else tuple(part for part in path.with_suffix("").parts if part != CHECKPOINTS)
        for path in checkpoints
    ]
    for depth in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(names[-depth:]) for names in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise UserError(f"ckpt_path: a checkpoint is named twice in {', '.join(map(str, checkpoints))}")


def find_checkpoint(ckpt_path: str, run_folder: Path) -> Path:
    """Path of the checkpoint that ``ckpt_path`` names.

    Args:
        ckpt_path: ``"last"`` or ``"best"`` of ``run_folder``, or the path of a file, or of the folder of a
            ``backbone.pth`` or of converted networks.
        run_folder: Folder of the run.

    Raises:
        UserError: There is no such file; the message lists the checkpoints that exist.
    """
    named = run_folder / CHECKPOINTS / f"{ckpt_path}.ckpt" if ckpt_path in ("best", "last") else Path(ckpt_path)
    if named.is_file() or any((named / name).is_file() for name in _IN_FOLDERS):
        return named
    found = sorted(str(path) for path in run_folder.parent.glob(f"*/{CHECKPOINTS}/*.ckpt"))
    there = (
        f"Checkpoints under {run_folder.parent}: {', '.join(found)}"
        if found
        else "Train one first, e.g. by `make demo`."
    )
    raise UserError(f"checkpoint {ckpt_path}: there is no file {named}.\n{there}")
