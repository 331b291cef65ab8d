"""The Weights & Biases logger of a run."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from src.errors import check_choice
from src.files import atomic_write

__all__ = ["Mode", "RunWandbLogger"]

log = logging.getLogger(__name__)

Mode = Literal["auto", "online", "offline", "disabled"]

_LONGEST_TAG = 64  # W&B refuses longer ones


class RunWandbLogger(WandbLogger):
    """Weights & Biases for a run that may be interrupted, continued, and be one of a sweep; it never asks for a login.

    The run's id is kept in ``wandb_id.txt`` of the run folder, so a continued run continues its curves. Pictures and
    tables that come more often than ``media_every_n_steps`` are left out, those of each name for themselves; the first
    of a name is always logged.

    Args:
        save_dir: Folder of the run.
        project: W&B project.
        name: Name of the run.
        group: Runs to be shown together; None: those of a multirun, by its folder.
        tags: Labels to filter by, beside the experiment's name and, in a multirun, the overrides of the job.
        mode: ``"online"`` sends, ``"offline"`` writes files that ``wandb sync`` sends later, ``"disabled"`` does
            nothing; ``"auto"``: what ``WANDB_MODE`` says, else online where there is a login, else offline.
        media_every_n_steps: Optimiser steps from one picture or table of a name to the next; 0 for all.

    Raises:
        UserError: There is no such mode.
    """

    def __init__(
        self,
        save_dir: Path | str,
        project: str,
        name: str,
        group: str | None = None,
        tags: Sequence[str] = (),
        mode: Mode = "auto",
        media_every_n_steps: int = 500,
    ) -> None:
        check_choice("logger.wandb.mode", mode, get_args(Mode))
        chosen = _find_mode() if mode == "auto" else mode
        later = f", upload later with `wandb sync {save_dir}/wandb/offline-run-*`" if chosen == "offline" else ""
        log.info("W&B: %s%s", chosen, later)
        sweep, labels = _of_hydra()
        super().__init__(
            save_dir=save_dir,
            project=project,
            name=name,
            id=_id_of(Path(save_dir)),
            group=group or sweep,
            tags=[label[:_LONGEST_TAG] for label in dict.fromkeys([*labels, *tags])],
            resume="allow",
            mode=chosen,
        )
        self._media_every_n_steps = media_every_n_steps
        self._step = 0
        self._media_steps: dict[str, int] = {}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers."""
        self._step = self._step if step is None else step
        super().log_metrics(metrics, step)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log pictures, unless others of that name are too recent; by default at the step of the latest numbers."""
        if self._is_due(key, step):
            super().log_image(key, images, self._media_steps[key], **kwargs)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Log a table, unless another of that name is too recent; by default at the step of the latest numbers."""
        if self._is_due(key, step):
            super().log_table(key, columns, data, dataframe, self._media_steps[key])

    def _is_due(self, key: str, step: int | None) -> bool:
        step = self._step if step is None else step
        last = self._media_steps.get(key)
        if last is not None and step - last < self._media_every_n_steps:
            return False
        self._media_steps[key] = step
        return True


def _find_mode() -> str:
    import wandb

    named = os.environ.get("WANDB_MODE")
    return named or ("online" if wandb.login(prompt=False, verify=False) else "offline")


def _id_of(folder: Path) -> str | None:
    """The id in the run folder, drawn if there is none; the first process alone logs and needs one."""
    if getattr(rank_zero_only, "rank", 0) != 0:  # set by the launcher
        return None
    path = folder / "wandb_id.txt"
    if not path.exists():
        with atomic_write(path, "w") as file:
            file.write(uuid.uuid4().hex[:8])
    return path.read_text(encoding="utf-8").strip()


def _of_hydra() -> tuple[str | None, list[str]]:
    """Group and tags that the command line stands for."""
    if not HydraConfig.initialized():
        return None, []
    job = HydraConfig.get()
    experiment = job.runtime.choices.get("experiment")
    tags = [experiment] if experiment else []
    if job.mode != RunMode.MULTIRUN:
        return None, tags
    overrides = [str(line) for line in job.overrides.task if not line.startswith("experiment=")]
    return "/".join(Path(job.sweep.dir).parts[-2:]), tags + overrides
