"""What the commands print and where they write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from rich.console import Console
from rich.table import Table

from src.errors import UserError
from src.files import atomic_write
from src.models.cancellable.durable import PRIVATE

__all__ = ["check_writable", "count", "grid", "list_unreadable", "private_write"]

_LISTED = 20


def grid() -> Table:
    """A table of facts: what, and its value."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def count(number: int, singular: str, plural: str | None = None) -> str:
    """``1 person``, ``1,200 people``."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def list_unreadable(messages: Sequence[str]) -> None:
    """Print, on the standard error stream, why photographs were skipped."""
    if not messages:
        return
    console = Console(stderr=True)
    console.print(f"[yellow]skipped {count(len(messages), 'photograph')} that cannot be read:", highlight=False)
    for message in messages[:_LISTED]:
        console.print(f"  {message}", highlight=False, markup=False, soft_wrap=True)
    if len(messages) > _LISTED:
        console.print(f"  and {len(messages) - _LISTED:,} more")


def check_writable(path: Path) -> None:
    """Raise UserError, before any long work, if ``out`` could not be written."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with TemporaryFile(dir=folder):  # permissions alone do not tell
            pass
    except OSError as error:
        raise UserError(
            f"out={path}: cannot be written ({error.strerror}); name a file in a folder of yours"
        ) from error
    if path.is_dir():
        raise UserError(f"out={path}: is a folder; give the name of a file")


@contextmanager
def private_write(path: Path) -> Iterator[IO]:
    """Write a text file as :func:`~src.files.atomic_write` does, one that only its owner may read."""
    with atomic_write(path, "w") as file:
        os.fchmod(file.fileno(), PRIVATE)
        yield file
