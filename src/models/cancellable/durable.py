"""Files that are on the disk when a call returns, and secrets that are no longer on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.errors import UserError
from src.files import sync_folder

__all__ = [
    "PRIVATE",
    "SHARED",
    "check_private",
    "check_writable",
    "explain_failure",
    "make_folder",
    "replace_file",
    "wipe",
    "write_file",
]

PRIVATE = 0o600
"""Mode of what only its owner may read."""
SHARED = 0o644
"""Mode of what is no secret; the process's umask may take from it."""
_OTHERS = 0o077
_WRITABLE_BY_OTHERS = 0o022
_BLOCK = 1 << 20


def write_file(path: Path, chunks: Iterable[bytes | memoryview], mode: int) -> str:
    """Write a file that nothing refers to yet; of an earlier one of that name nothing is kept.

    Content and name are on the disk on return, so that what is written next may refer to the file.

    Args:
        path: Where.
        chunks: Content.
        mode: Permissions, which hold from the first byte on.

    Returns:
        SHA-256 of the content, in hex.
    """
    _discard(path, mode)  # the permissions of an existing file would stay
    digest = hashlib.sha256()
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):  # of the two errors the first tells more
            _discard(path, mode)
        raise
    return digest.hexdigest()


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file by one rename: after a crash it holds the old or the new content, after return the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    write_file(temporary, [content], mode)
    os.replace(temporary, path)
    sync_folder(path.parent)


def wipe(path: Path) -> None:
    """Overwrite a file with zeros, wait until they are on the disk, then delete it.

    A file system that never writes in place (copy-on-write, the controller of a flash disk, snapshots) may keep the
    old content elsewhere all the same.
    """
    with open(path, "r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= file.write(bytes(min(_BLOCK, left)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


@contextmanager
def explain_failure(place: Path, consequence: Callable[[], str]) -> Iterator[None]:
    """Turn an error of the operating system, a full disk or a lack of permission, into a `UserError`.

    Args:
        place: What was being changed, for errors that do not name a file.
        consequence: Says, after the error, what became of it.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or place}: {error.strerror}; {consequence()}") from error


def make_folder(path: Path, mode: int) -> None:
    """Create a folder and its parents, durably; one that is empty gets the mode, another one keeps its own.

    Raises:
        UserError: It cannot be made.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a folder ({error.strerror})") from error
    if mode & _OTHERS == 0 and (missing or not any(path.iterdir())):
        path.chmod(mode)
    for folder in missing:
        sync_folder(folder.parent)


def check_writable(folder: Path) -> None:
    """Raise UserError if nothing can be put in a folder."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: may not be written to, or is on a read-only disk; nothing was changed")


def check_private(folder: Path) -> None:
    """Refuse a folder of secrets that others could read or replace.

    Raises:
        UserError: A file in it is readable or writable by others than its owner, or the folder is writable by them.
    """
    loose = [folder] if folder.stat().st_mode & _WRITABLE_BY_OTHERS else []
    for path in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):  # the writer may just have deleted it
            loose += [path] if path.lstat().st_mode & _OTHERS else []
    if loose:
        raise UserError(
            f"{loose[0]}: others than its owner may {'write to' if loose[0] == folder else 'read'} it, but it holds "
            f"secrets; `chmod -R go= {folder}` takes that away. Who could read it so far may have copied it: renew all."
        )


def _discard(path: Path, mode: int) -> None:
    """Delete a file, if there is one, and what it held too if that was secret."""
    try:
        if mode & _OTHERS == 0 and path.exists():
            wipe(path)
    finally:
        path.unlink(missing_ok=True)
