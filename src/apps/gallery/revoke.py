"""``privface gallery revoke``: people leave a gallery for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import count
from src.apps.gallery.pids import parse_pids
from src.models.cancellable.gallery import CancellableGallery

__all__ = ["run"]


def run(pid: int | str | Sequence[int | str], templates: Path | str, identifiers: Path | str) -> None:
    """Revoke, and say how many templates were.

    Args:
        pid: Whom: one or several numbers, or ``"all"``.
        templates: Folder of the template store.
        identifiers: Folder of the identifier store.

    Raises:
        UserError: There is no such gallery, or nobody with such a number; nothing is changed then.
    """
    pids = parse_pids(pid)
    with (
        stops_cleanly("Some may be revoked and others not; run privface gallery audit --repair, then revoke again."),
        CancellableGallery.open(templates, identifiers, write=True) as gallery,
        Console(stderr=True).status("revoking"),
    ):
        people = gallery.pids if pids is None else pids
        revoked = gallery.revoke(people)
    Console().print(
        f"Revoked {count(revoked, 'template')} of {count(len(people), 'person', 'people')}: identifiers are erased, "
        "templates deleted. Delete their rows of people.csv, too.",
        highlight=False,
        soft_wrap=True,
    )
