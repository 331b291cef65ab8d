"""How large a data set will be, before it is written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
from rich.filesize import decimal

from src.datamodules.decode import BadImage
from src.datamodules.preparation.build import Preparation
from src.errors import UserError

__all__ = ["Estimate", "check_space", "estimate"]

_SAMPLES = 200


@dataclass(frozen=True)
class Estimate:
    """What a look at some images tells.

    Attributes:
        bytes: Of the whole data set, about.
        looked_at: Images that were prepared for it.
        unreadable: Images among them that cannot be read.
    """

    bytes: int
    looked_at: int
    unreadable: int


def estimate(preparation: Preparation) -> Estimate:
    """Prepare some images, evenly spread over the collection, and measure them.

    Raises:
        UserError: None of them can be read.
    """
    source = preparation.source
    rows = np.unique(np.linspace(0, len(source) - 1, _SAMPLES).astype(np.int64)).tolist()
    sizes: list[int] = []
    reason = ""
    for row in rows:
        try:
            sizes.append(preparation.target.stored_bytes(preparation.transform.apply(source, row)))
        except BadImage as error:
            reason = reason or f"{source.key(row)}: {error}"
    if not sizes:
        raise UserError(f"{source.name}: none of {len(rows)} images can be read, the first is {reason}")
    return Estimate(int(np.mean(sizes) * len(source)), len(rows), len(rows) - len(sizes))


def check_space(preparation: Preparation, expected: int) -> int:
    """Look for room before long work.

    Args:
        preparation: The data set.
        expected: Its size in bytes.

    Returns:
        Free bytes of the disk that is written to; for a remote target that of the working folder, which never holds
        more than the parts that are being written.

    Raises:
        UserError: The data set cannot fit.
    """
    folder = preparation.target.work.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    missing = 1 - preparation.journal.finished / len(preparation.parts)
    needed = int(expected * (preparation.target.copies - 1 + missing)) if preparation.target.out.is_local else 0
    if free < needed:
        raise UserError(
            f"{preparation.target.out}: about {decimal(needed)} needed, {decimal(free)} free; free some space, "
            "give another target, or prepare smaller images (size=112)"
        )
    return free
