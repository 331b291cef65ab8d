"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from src.errors import UserError

__all__ = ["atomic_write", "explain_full_disk", "sync_folder"]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: Path | str, mode: str = "wb", *, private: bool = False) -> Iterator[IO]:
    """Open a temporary neighbour of ``path`` for writing and rename it to ``path`` on success.

    The data is flushed to the disk before the rename, so after a crash ``path`` holds either its old
    content or the whole new one, and once the block has ended the new one. On an exception (a full disk, a kill by
    Ctrl-C) the temporary file is removed and ``path`` is untouched.

    Args:
        path: Final name; its folder is created if needed.
        mode: ``"wb"`` for bytes or ``"w"`` for UTF-8 text.
        private: Only its owner may read the file, from the first byte on.

    Yields:
        The open temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        opener = _open_privately if private else None
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8", opener=opener) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explain_full_disk(place: object, consequence: str) -> Iterator[None]:
    """Turn the error of a full disk into a `UserError`.

    Args:
        place: What was being written, for the message.
        consequence: What became of it, for the message.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise UserError(
            f"{place}: the disk is full ({error.strerror}); {consequence}. Free some space, or write elsewhere."
        ) from error


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
