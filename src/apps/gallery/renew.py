"""``privface gallery renew``: new templates and identifiers for people, without their faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from src.apps.gallery.people_change import change_people
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
    changed = change_people(
        pid,
        templates,
        identifiers,
        CancellableGallery.renew,
        doing="renewing",
        if_interrupted="Everybody has either the old template or the new one; the same command renews the rest, too.",
    )
    Console().print(
        f"Renewed {changed}. They match as before; copies of the old ones match nobody.",
        highlight=False,
        soft_wrap=True,
    )
