"""``privface gallery renew``: new templates and identifiers for people, without their faces."""

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
    """Renew, and say how many templates were.

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
        stops_cleanly("Everybody has either the old template or the new one; the same command renews the rest, too."),
        CancellableGallery.open(templates, identifiers, write=True) as gallery,
        Console(stderr=True).status("renewing"),
    ):
        people = len(gallery) if pids is None else len(pids)
        renewed = gallery.renew(pids)
    Console().print(
        f"Renewed {count(renewed, 'template')} of {count(people, 'person', 'people')}. They match as before; copies of "
        "the old ones match nobody.",
        highlight=False,
        soft_wrap=True,
    )
