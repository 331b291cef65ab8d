"""The folder of a procedural data set: its record, its lock, and what to do about a full disk."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.rendering import RENDER_VERSION
from src.errors import UserError
from src.files import atomic_write, explain_full_disk

__all__ = [
    "BUILDING",
    "RECORD",
    "check_space",
    "digest",
    "explain_os_errors",
    "flush",
    "locked",
    "read_parts",
    "write_record",
]

RECORD = "faces.json"
"""Lies in a whole data set only."""
BUILDING = "building.json"
"""The record of a data set that is being built, or whose builder was killed."""


def read_parts(path: Path, config: FacesConfig) -> dict[str, str]:
    """Digest per finished part of the data set that a record describes; empty without a record.

    Args:
        path: ``faces.json`` or ``building.json``.
        config: The data set that is wanted.

    Raises:
        UserError: If the record is damaged or describes another data set; the message names the differences.
    """
    try:
        found = json.loads(path.read_bytes())
        parts = dict(found["parts"])
        have = {"render_version": found["render_version"], **found["config"]}
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged record of a procedural data set ({error}); delete {path.parent}") from error
    want = _identity(config)
    different = [
        f"{key} is {have.get(key, 'absent')}, wanted {want.get(key, 'absent')}"
        for key in sorted(have.keys() | want.keys())
        if have.get(key) != want.get(key)
    ]
    if different:
        raise UserError(
            f"{path}: the folder holds another data set ({'; '.join(different)}); "
            f"give another folder, or delete {path.parent}"
        )
    return parts


def write_record(path: Path, config: FacesConfig, parts: dict[str, str]) -> None:
    """Write the record of a data set: its configuration, the renderer's version and the digests of its parts."""
    identity = _identity(config)
    record = {"render_version": identity.pop("render_version"), "config": identity, "parts": parts}
    with atomic_write(path, "w") as file:
        json.dump(record, file, indent=1)


def _identity(config: FacesConfig) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return {"render_version": RENDER_VERSION, **values}


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the one lock of a data set's folder; other processes wait.

    The kernel drops the lock when its holder ends in any way, so a killed builder blocks nobody.
    """
    with open(root / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Console(stderr=True).print(f"{root}: another process is building this data set; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_space(root: Path, needed: int) -> None:
    """Raise before long work if the disk cannot hold it.

    Args:
        root: Folder to fill.
        needed: Bytes.

    Raises:
        UserError: If less is free.
    """
    free = shutil.disk_usage(root).free
    if free < needed:
        raise UserError(
            f"{root}: {_megabytes(needed)} needed, {_megabytes(free)} free; free some space or give another folder"
        )


@contextmanager
def explain_os_errors(root: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into a `UserError` that says what to do."""
    try:
        with explain_full_disk(root, "finished parts are kept"):
            yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{root}: cannot be written ({error.strerror}); give another folder") from error
        raise


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder, hex."""
    total = hashlib.sha256()
    for file in _files(path):
        with open(file, "rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{file.relative_to(path).as_posix()} {content}\n".encode())
    return total.hexdigest()


def flush(path: Path) -> None:
    """Wait until a file, or all files below a folder, are on the disk."""
    for file in _files(path):
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
