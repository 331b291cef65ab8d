"""What is known of an unfinished data set, so that a run that was killed can be continued."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from src.datamodules.preparation.receipt import Receipt
from src.errors import UserError
from src.files import atomic_write

__all__ = ["Journal", "differences"]

logger = logging.getLogger(__name__)

_PLAN = "plan.json"


class Journal:
    """A folder with the settings of a run (`plan.json`) and a receipt per finished part (`part-000000.npz`).

    Args:
        folder: Created by `locked`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the only lock of the journal; the kernel drops it when its holder ends in any way.

        Raises:
            UserError: Another process holds it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(self.folder / "lock", "w")  # noqa: SIM115, the body below is not the open's business
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise UserError(f"{self.folder}: cannot be written ({error.strerror}); give another target") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self.folder}: another process is preparing this data set; wait for it, or end it first"
                ) from None
            yield

    @property
    def exists(self) -> bool:
        """Whether a run was started and not completed."""
        return (self.folder / _PLAN).exists()

    @property
    def finished(self) -> int:
        """Number of parts that have a receipt."""
        return len(list(self.folder.glob("part-*.npz")))

    def read_settings(self) -> dict[str, Any]:
        """Settings of the run that was started.

        Raises:
            UserError: They are damaged.
        """
        path = self.folder / _PLAN
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, TypeError, ValueError) as error:
            raise UserError(f"{path}: damaged ({error}); delete {self.folder.parent} and start again") from error

    def start(self, settings: Mapping[str, Any]) -> None:
        """Note the settings of a new run."""
        with atomic_write(self.folder / _PLAN, "w") as file:
            json.dump(dict(settings), file, indent=1)

    def record(self, receipt: Receipt) -> None:
        """Note a finished part."""
        receipt.save(self.folder / f"part-{receipt.number:06d}.npz")

    def receipts(self) -> list[Receipt]:
        """Receipts of the finished parts, by number; those that a failing disk damaged are left out."""
        receipts = []
        for path in sorted(self.folder.glob("part-*.npz")):
            try:
                receipts.append(Receipt.load(path))
            except (BadZipFile, EOFError, KeyError, OSError, TypeError, ValueError) as error:
                logger.warning("%s: damaged receipt (%s), its part is made again", path, error)
        return receipts

    def remove_unfinished(self) -> None:
        """Delete what parts that were being written have left in the folder."""
        for path in [*self.folder.glob("*.tmp"), *self.folder.glob(".*.tmp")]:
            path.unlink()

    def remove(self) -> None:
        """Delete the journal of a completed run."""
        shutil.rmtree(self.folder)


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Settings in which two runs differ, in words; empty if they are the same."""
    names = [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
    return "; ".join(f"{name} was {found.get(name)}, is now {wanted.get(name)}" for name in names)
