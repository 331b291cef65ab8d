"""Who may use a gallery at the same time: many readers beside one writer, in whatever processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from src.errors import UserError
from src.models.cancellable.durable import PRIVATE

__all__ = ["SharedLock", "lock_for_writing"]

_WRITER, _TURN, _USERS = "writer.lock", "turn.lock", "readers.lock"


class SharedLock:
    """Lets many readers in at a time, or the writer alone; who waits is let in before who comes later.

    The lock files are empty and stay where they are; the kernel takes a lock off when its process dies.

    Every use opens the files anew, so that threads exclude each other as processes do.

    Args:
        folder: Where the lock files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold off the writer."""
        with ExitStack() as stack:
            with _locked(self._folder / _TURN, fcntl.LOCK_EX):
                stack.enter_context(_locked(self._folder / _USERS, fcntl.LOCK_SH))
            yield

    @contextmanager
    def write(self) -> Iterator[None]:
        """Wait for those who read, and hold off all others."""
        with _locked(self._folder / _TURN, fcntl.LOCK_EX), _locked(self._folder / _USERS, fcntl.LOCK_EX):
            yield


@contextmanager
def lock_for_writing(*folders: Path) -> Iterator[None]:
    """Be the only writer of some folders.

    Raises:
        UserError: There is one already.
    """
    with ExitStack() as stack:
        for folder in folders:
            try:
                stack.enter_context(_locked(folder / _WRITER, fcntl.LOCK_EX | fcntl.LOCK_NB))
            except BlockingIOError:
                raise UserError(f"{folder}: another process is writing to it; wait until it has finished") from None
        yield


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    try:
        # For writing, as network file systems demand of who wants to be alone.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened for a lock ({error.strerror})") from error
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        # Unlocked by name: a forked child that still holds a copy of the descriptor would else keep the lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
