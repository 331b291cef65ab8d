"""``privface gallery audit``: what is wrong with a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import count
from src.models.cancellable.audit import Audit, Finding
from src.models.cancellable.gallery import CancellableGallery

__all__ = ["run"]


def run(templates: Path | str, identifiers: Path | str, *, repair: bool) -> None:
    """Print what is wrong.

    Args:
        templates: Folder of the template store.
        identifiers: Folder of the identifier store.
        repair: Mend what can be mended.

    Raises:
        UserError: They hold no gallery.
        SystemExit: Something is wrong and was not mended; with status 1.
    """
    with (
        stops_cleanly("The gallery is no worse than before."),
        CancellableGallery.open(templates, identifiers, write=repair) as gallery,
        Console(stderr=True).status("looking at templates and identifiers"),
    ):
        audit = gallery.repair() if repair else gallery.audit()
    _print(audit, is_repair=repair)
    if not audit.ok:
        raise SystemExit(1)


def _print(audit: Audit, *, is_repair: bool) -> None:
    console = Console()
    if audit.repaired:
        console.print(_table("mended", audit.repaired))
    if audit.findings:
        console.print(_table("wrong", audit.findings))
    looked_at = f"{count(audit.templates, 'template')} and {count(audit.identifiers, 'identifier')} looked at"
    if audit.ok:
        console.print(
            f"{looked_at}: [green]nothing is wrong{' any more' if audit.repaired else ''}.",
            highlight=False,
            soft_wrap=True,
        )
        return
    hint = "what is left cannot be mended here" if is_repair else "--repair mends what can be mended"
    console.print(
        f"{looked_at}: [bold red]{count(len(audit.findings), 'finding')}[/bold red]; {hint}.",
        highlight=False,
        soft_wrap=True,
    )


def _table(title: str, findings: Sequence[Finding]) -> Table:
    table = Table("store", "what", "how many", "about it", title=title, title_justify="left")
    table.columns[2].justify = "right"
    for finding in findings:
        table.add_row(finding.store, finding.kind, f"{finding.count:,}", finding.detail)
    return table
