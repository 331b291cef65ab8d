"""What the folder of a finished run tells."""

from __future__ import annotations

import shlex
from pathlib import Path

from omegaconf import OmegaConf

from src.errors import UserError
from src.eval.report import Run
from src.eval.results import RESULTS, read_run_results

__all__ = ["read_run"]


def read_run(folder: Path) -> Run:
    """Read what a report tells of a run from its folder.

    Raises:
        UserError: There are no results, or they cannot be read.
    """
    if not (folder / RESULTS).is_file():
        missing = f"holds no {RESULTS}" if folder.is_dir() else "is not a folder"
        raise UserError(
            f"{folder}: {missing}; expected the folder of a finished run. train.py writes its results at the end "
            "(ckpt_path=last continues a run), and eval.py those of a checkpoint into a folder of its own."
        )
    config = folder / ".hydra" / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    return Run(folder, read_run_results(folder), _command(folder / ".hydra"), text)


def _command(hydra: Path) -> str:
    """The command line of a run, from what Hydra keeps of it."""
    try:
        job = OmegaConf.load(hydra / "hydra.yaml").hydra.job.config_name
        overrides = OmegaConf.load(hydra / "overrides.yaml")
    except FileNotFoundError:
        return ""
    return shlex.join(["python", f"{job}.py", *map(str, overrides)])
