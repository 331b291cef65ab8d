"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from src.errors import UserError

__all__ = ["atomic_write", "explain_full_disk"]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: Path | str, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary neighbour of ``path`` for writing and rename it to ``path`` on success.

    The data is flushed to the disk before the rename, so after a crash ``path`` holds either its old
    content or the whole new one. On an exception (a full disk, a kill by Ctrl-C) the temporary file is removed
    and ``path`` is untouched.

    Args:
        path: Final name; its folder is created if needed.
        mode: ``"wb"`` for bytes or ``"w"`` for UTF-8 text.

    Yields:
        The open temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
