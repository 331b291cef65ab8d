"""``privface gallery revoke``: people leave a gallery for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from src.apps.gallery.arguments import to_path
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
    templates, identifiers = to_path("templates", templates), to_path("identifiers", identifiers)
    with (
        stops_cleanly("Either nobody or all were revoked: run privface gallery audit --repair, then stats."),
        CancellableGallery.open(templates, identifiers, write=True) as gallery,
        Console(stderr=True).status("revoking"),
    ):
        people = gallery.pids if pids is None else pids
        revoked = gallery.revoke(people)
    Console().print(
        f"Revoked {count(revoked, 'template')} of {count(len(people), 'person', 'people')}: identifiers are erased, "
        "templates deleted. Their rows of people.csv keep enrol from enrolling them again; to forget the names, delete "
        "their photographs, then the rows.",
        highlight=False,
        soft_wrap=True,
    )
