"""What ``privface gallery renew`` and ``revoke`` have in common: people of a gallery are chosen and changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from src.apps.gallery.arguments import to_path
from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import count
from src.apps.gallery.pids import parse_pids
from src.models.cancellable.gallery import CancellableGallery

__all__ = ["change_people"]


def change_people(
    pid: int | str | Sequence[int | str],
    templates: Path | str,
    identifiers: Path | str,
    change: Callable[[CancellableGallery, list[int]], int],
    *,
    doing: str,
    if_interrupted: str,
) -> str:
    """Open a gallery, change templates of some of its people, and count them: ``3 templates of 1 person``.

    Args:
        pid: Whom: one or several numbers, or ``"all"``.
        templates: Folder of the template store.
        identifiers: Folder of the identifier store.
        change: Changes those people and returns how many templates it changed.
        doing: What the progress says.
        if_interrupted: What a person is told who interrupts it.

    Raises:
        UserError: There is no such gallery, or nobody with such a number; nothing is changed then.
    """
    pids = parse_pids(pid)
    templates, identifiers = to_path("templates", templates), to_path("identifiers", identifiers)
    with (
        stops_cleanly(if_interrupted),
        CancellableGallery.open(templates, identifiers, write=True) as gallery,
        Console(stderr=True).status(doing),
    ):
        people = list(gallery.pids) if pids is None else list(pids)
        changed = change(gallery, people)
    return f"{count(changed, 'template')} of {count(len(people), 'person', 'people')}"
