"""Building a procedural data set on disk, once, whoever asks for it and however often."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from src.datamodules.decode import decode
from src.datamodules.procfaces.data_card import data_card
from src.datamodules.procfaces.drawing import Drawer, draw_here
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.parts import TRAIN, Part, plan
from src.datamodules.procfaces.sheet import contact_sheet, save_png
from src.datamodules.procfaces.storage import (
    BUILDING,
    RECORD,
    check_space,
    digest,
    explain_os_errors,
    flush,
    locked,
    read_parts,
    write_record,
)
from src.datamodules.procfaces.workers import drawers
from src.datamodules.shards import ShardIndex
from src.errors import UserError
from src.files import atomic_write
from src.progress import image_progress

__all__ = ["build", "verify"]

# Mean difference in grey levels that another kind of processor may cause.
_TOLERANCE = 0.5


def build(root: Path | str, config: FacesConfig, *, processes: int | None = None) -> Path:
    """Draw and write a data set unless it is there.

    The folder holds ``train/`` (shards), ``lfw/``, ``agedb_30.bin``, ``cfp_fp.bin``, ``IJBC/``, ``gender.bin`` and
    ``gender_shifted.bin`` as far as ``config.benchmarks`` asks for them, ``DATA_CARD.md``, ``contact_sheet.png`` and,
    written last, ``faces.json``.
    Of several processes that build the same folder one works and the others wait. After an interruption the parts
    that were finished are kept. The bytes do not depend on ``processes``.

    Args:
        root: Folder of the data set; created if needed.
        config: What it holds.
        processes: Processes that draw; by default one per usable core.

    Returns:
        ``root``.

    Raises:
        UserError: If the folder holds something else, the benchmarks cannot be made of that few images, or the disk
            is full.
    """
    root = Path(root)
    processes = len(os.sched_getaffinity(0)) if processes is None else processes
    if processes < 1:
        raise UserError(f"processes: expected at least 1, found {processes}")
    with explain_os_errors(root):
        if read_parts(root / RECORD, config):
            return root
        parts = plan(config)
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            if not read_parts(root / RECORD, config):
                _build_missing(root, config, parts, processes)
    return root


def verify(root: Path | str, config: FacesConfig, *, samples: int = 16, seed: int = 0) -> float:
    """Check a data set: the files are those that were written, and drawing them again gives the same pictures.

    Args:
        root: Folder of the data set.
        config: What it should hold.
        samples: Number of training images to draw again.
        seed: Seed of their choice.

    Returns:
        The largest mean difference of an image, grey levels of 255; 0 on the kind of machine that built it.

    Raises:
        UserError: If the data set is not whole, a file was changed, or an image differs by half a grey level or more.
    """
    root = Path(root)
    parts = read_parts(root / RECORD, config)
    if not parts:
        raise UserError(f"{root / RECORD}: not found, so {root} is no whole procedural data set; build it first")
    for name, expected in parts.items():
        if digest(root / name) != expected:
            raise UserError(f"{root / name}: changed since it was written; delete {root} and build it again")
    index = ShardIndex.load(root / TRAIN)
    training = plan(config)[0]
    rows = np.sort(np.random.default_rng(seed).choice(len(index), min(samples, len(index)), replace=False))
    differences = {}
    for row, photograph in zip(rows, draw_here(training.scene, training.shots.take(rows)), strict=True):
        stored = _read_image(index, row)
        differences[index.keys[row].decode()] = _mean_difference(stored, photograph.visible)
    worst = max(differences, key=lambda key: differences[key])
    if differences[worst] >= _TOLERANCE:
        raise UserError(
            f"{root / TRAIN}: image {worst} differs from its drawing by {differences[worst]:.2f} grey levels, expected "
            f"less than {_TOLERANCE}; the renderer changed without a new version, or the folder was tampered with"
        )
    return differences[worst]


def _build_missing(root: Path, config: FacesConfig, parts: list[Part], processes: int) -> None:
    for leftover in root.glob(f".{BUILDING}.*.tmp"):  # of a builder that was killed while it wrote
        leftover.unlink()
    finished = read_parts(root / BUILDING, config)
    is_new = not (root / BUILDING).exists()
    if is_new and (foreign := [path.name for path in root.iterdir() if not path.name.startswith(".")]):
        raise UserError(f"{root}: expected a new or empty folder, found {', '.join(sorted(foreign)[:3])} in it")
    missing = [part for part in parts if part.name not in finished]
    check_space(root, sum(part.bytes_on_disk for part in missing))
    write_record(root / BUILDING, config, finished)
    with drawers(processes) as draw_all, image_progress() as progress:
        for part in missing:
            finished[part.name] = _build_part(root, part, draw_all, progress)
            write_record(root / BUILDING, config, finished)
        save_png(contact_sheet(config, draw_all=draw_all), root / "contact_sheet.png")
    with atomic_write(root / "DATA_CARD.md", "w") as file:
        file.write(data_card(config))
    os.replace(root / BUILDING, root / RECORD)


def _build_part(root: Path, part: Part, draw_all: Drawer, progress: Progress) -> str:
    """Write a part under a temporary name and rename it when it is whole; returns its digest."""
    temporary, final = root / f".{part.name}.tmp", root / part.name
    for leftover in (temporary, final):  # of a builder that was killed before it recorded the part
        _remove(leftover)
    photographs = progress.track(
        draw_all(part.scene, part.shots), total=len(part.shots), description=f"drawing {part.name}"
    )
    part.write(temporary, iter(photographs))
    flush(temporary)
    os.replace(temporary, final)
    return digest(final)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_image(index: ShardIndex, row: int) -> bytes:
    with (index.root / index.shards[index.shard[row]].file).open() as file:
        return file.read(int(index.offset[row, 0]), int(index.size[row, 0]))


def _mean_difference(first: bytes, second: bytes) -> float:
    a, b = (decode(content).to(torch.float32) for content in (first, second))
    return float((a - b).abs().mean()) if a.shape == b.shape else 255.0
