"""``privface gallery audit``: what is wrong with a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from src.apps.gallery.arguments import to_path
from src.apps.gallery.interruption import stops_cleanly
from src.apps.gallery.output import count
from src.apps.gallery.people_table import PeopleTable
from src.models.cancellable.audit import Audit, Finding
from src.models.cancellable.gallery import CancellableGallery

__all__ = ["run"]

_NAMED = 3


def run(templates: Path | str, identifiers: Path | str, *, repair: bool, people: Path | str | None = None) -> None:
    """Print what is wrong.

    Args:
        templates: Folder of the template store.
        identifiers: Folder of the identifier store.
        repair: Mend what can be mended.
        people: Table that enrolment wrote, to compare with the gallery.

    Raises:
        UserError: They hold no gallery, or there is no such table.
        SystemExit: Something is wrong and was not mended; with status 1.
    """
    templates, identifiers = to_path("templates", templates), to_path("identifiers", identifiers)
    table = None if people is None else PeopleTable.existing(to_path("people", people))
    with (
        stops_cleanly("The gallery is no worse than before."),
        CancellableGallery.open(templates, identifiers, write=repair) as gallery,
        Console(stderr=True).status("looking at templates and identifiers"),
    ):
        audit = gallery.repair() if repair else gallery.audit()
        known = set(gallery.pids)
    _print(audit, is_repair=repair)
    is_complete = table is None or _compare(table, known)
    if not audit.ok or not is_complete:
        raise SystemExit(1)


def _compare(table: PeopleTable, known: set[int]) -> bool:
    """Print how a table and the people of a gallery differ; return whether everybody has a name."""
    listed = {row.pid for row in table}
    announced = {row.pid for row in table.pending.rows} if table.pending else set()
    strangers, revoked = known - listed - announced, listed - known
    messages = []
    if table.pending:
        messages.append("[red]an enrolment was interrupted[/red]; the next enrol finishes it")
    if strangers:
        numbers = ", ".join(map(str, sorted(strangers)[:_NAMED])) + (", ..." if len(strangers) > _NAMED else "")
        messages.append(
            f"[red]does not name {count(len(strangers), 'person', 'people')} of the gallery[/red]: {numbers}; revoke "
            "them, or look for the table that does"
        )
    if revoked:
        messages.append(f"names {count(len(revoked), 'person', 'people')} who were revoked; enrol leaves them out")
    for message in messages or ["names everybody of the gallery, and nobody else"]:
        Console().print(f"{escape(str(table.path))}: {message}.", highlight=False, soft_wrap=True)
    return not (table.pending or strangers)


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
