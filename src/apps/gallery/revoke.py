"""``privface gallery revoke``: people leave a gallery for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from src.apps.gallery.people_change import change_people
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
    changed = change_people(
        pid,
        templates,
        identifiers,
        CancellableGallery.revoke,
        doing="revoking",
        if_interrupted="Either nobody or all were revoked: run privface gallery audit --repair, then stats.",
    )
    Console().print(
        f"Revoked {changed}: identifiers are erased, templates deleted. Their rows of people.csv keep enrol from "
        "enrolling them again; to forget the names, delete their photographs, then the rows.",
        highlight=False,
        soft_wrap=True,
    )
